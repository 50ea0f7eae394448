"""The intake of a worker's reports: each is stored once, in order, and within the limits of its job.

A report beyond a limit leaves a mark, an OutputCut that takes its number and its sequence. Marks that
follow each other are one event in the log, so a worker cannot fill it with them.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from airunner.model import limits
from airunner.model.errors import InvalidRequest, OutOfSequence
from airunner.model.facts import JobFact, Reported
from airunner.model.jobs import Job
from airunner.model.reports import (
    Alive,
    CloneProgressed,
    ImagePullProgressed,
    Output,
    OutputCut,
    Remark,
    Report,
    TerminalResized,
    count_sequences,
    without_first,
)
from airunner.store.retention import Retention

_CHATTER: Final = Alive | CloneProgressed | ImagePullProgressed | Remark | TerminalResized
_LEFT_OUT: Final = (
    "further {} of this job are left out: the server stores {:,} (REPORTS_PER_JOB_MAX)"
)


class ReportRoom:
    """The reports that the server still stores of a job, of all kinds and over all attempts."""

    def __init__(self, job: Job, retention: Retention) -> None:
        room = room_for(job, retention)
        self._reports_max = retention.reports_per_job
        self._reports = job.reports
        self._sequences = (
            2 * retention.reports_per_job + room // limits.OUTPUT_SEQUENCE_BYTES_MIN - job.sequence
        )
        self._bytes = room - job.output_bytes

    def take(self, report: Report) -> Report:
        """A report other than output, or the mark in its place; it counts as stored."""
        self._sequences -= count_sequences(report)
        if isinstance(report, OutputCut):
            return report
        chatter = isinstance(report, _CHATTER)
        allowed = self._reports_max // 2 if chatter else self._reports_max
        if self._reports > allowed:
            return OutputCut(1, 0)
        self._reports += 1
        if self._reports <= allowed:
            return report
        return Remark(_LEFT_OUT.format("remarks and heartbeats" if chatter else "events", allowed))

    def fit(self, output: Output, free: int | None = None) -> tuple[Output, OutputCut | None]:
        """The leading chunks within the limits of the job and `free` bytes, and a mark for the others."""
        room = self._bytes if free is None else min(self._bytes, free)
        for index, chunk in enumerate(output.chunks):
            room -= len(chunk.data)
            if room < 0 or index >= self._sequences:
                rest = output.chunks[index:]
                cut = OutputCut(len(rest), sum(len(chunk.data) for chunk in rest))
                return Output(output.chunks[:index], output.step), cut
        return output, None

    def store(self, output: Output, cut: OutputCut | None) -> None:
        """Counts output that is stored, and the mark that follows it."""
        self._bytes -= output.size
        self._sequences -= len(output.chunks) + (cut.items if cut else 0)


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
