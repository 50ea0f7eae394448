"""What is taken of a worker's reports: each once, in order, and output within its bounds."""

from collections.abc import Iterable, Iterator

from airunner.errors import OutOfSequence
from airunner.jobs import Job
from airunner.reports import Output, OutputCut, Report, tail, width
from airunner.retention import Retention


def room_for(job: Job, retention: Retention) -> int:
    """Bytes of output that may be kept of the job, over all its attempts."""
    return min(job.spec.output_bytes_max, retention.output_bytes_per_job)


def unseen(
    reports: Iterable[tuple[int, Report]], sent: int, *, gaps: bool
) -> Iterator[tuple[int, Report]]:
    """What follows the worker's number `sent`, each with the number of its last item.

    A report comes with the number of its first item. One that is numbered 0 is
    taken as it is. Raises OutOfSequence where a number is missing, unless `gaps`.
    """
    for first, report in reports:
        last = first + width(report) - 1
        if not first:
            yield 0, report
        elif last > sent:
            if first > sent + 1 and not gaps:
                raise OutOfSequence(sent + 1, first)
            yield last, tail(report, max(0, sent + 1 - first))
            sent = last


def fit(output: Output, room: int) -> tuple[Output, OutputCut | None]:
    """The leading chunks that fit into `room` bytes, and a mark for those that do not."""
    for index, chunk in enumerate(output.chunks):
        room -= len(chunk.data)
        if room < 0:
            rest = output.chunks[index:]
            cut = OutputCut(len(rest), sum(len(chunk.data) for chunk in rest))
            return Output(output.chunks[:index]), cut
    return output, None
