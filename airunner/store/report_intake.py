"""The intake of a worker's reports: each is stored once, in order, and output within its limits."""

from collections.abc import Iterable, Iterator

from airunner.model import limits
from airunner.model.errors import InvalidRequest, OutOfSequence
from airunner.model.facts import JobFact, Reported
from airunner.model.jobs import Job
from airunner.model.reports import Output, OutputCut, Report, count_sequences, without_first
from airunner.store.retention import Retention


def room_for(job: Job, retention: Retention) -> int:
    """Bytes of output that the server stores of the job, over all its attempts."""
    return min(job.spec.output_bytes_max, retention.output_bytes_per_job)


def unseen(
    reports: Iterable[tuple[int, Report]], sent: int, *, gaps: bool
) -> Iterator[tuple[int, Report]]:
    """The reports after the worker's number `sent`, each with the number of its last item.

    A report comes in with the number of its first item. A report with the number 0 passes unchanged.
    Raises OutOfSequence where a number is missing, unless `gaps`.
    """
    for first, report in reports:
        last = first + count_sequences(report) - 1
        if not first:
            yield 0, report
        elif last > sent:
            if first > sent + 1 and not gaps:
                raise OutOfSequence(sent + 1, first)
            yield last, without_first(report, max(0, sent + 1 - first))
            sent = last


def check_countable(job: Job, facts: Iterable[JobFact]) -> None:
    """Raises InvalidRequest if a counter of the job would pass COUNT_MAX.

    A worker may claim any size for a mark of cut output, and the sums must stay within 64 bits.
    """
    reports = [fact.report for fact in facts if isinstance(fact, Reported)]
    cut = sum(report.size for report in reports if isinstance(report, OutputCut))
    for count, unit in (
        (job.sequence + sum(map(count_sequences, reports)), "sequences"),
        (job.output_bytes_cut + cut, "bytes that are cut"),
    ):
        if count > limits.COUNT_MAX:
            raise InvalidRequest(
                "output_cut", f"the job would have more than COUNT_MAX ({limits.COUNT_MAX}) {unit}"
            )


def fit(output: Output, room: int) -> tuple[Output, OutputCut | None]:
    """The leading chunks that fit into `room` bytes, and a mark for the others."""
    for index, chunk in enumerate(output.chunks):
        room -= len(chunk.data)
        if room < 0:
            rest = output.chunks[index:]
            cut = OutputCut(len(rest), sum(len(chunk.data) for chunk in rest))
            return Output(output.chunks[:index], output.step), cut
    return output, None
