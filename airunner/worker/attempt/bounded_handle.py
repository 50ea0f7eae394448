"""The reports of an attempt within limits: the one place through which all of its texts leave.

Rules

1. Each text of a report and of the outcome is valid text and at most REPORT_TEXT_BYTES_MAX long,
   the standard error of a clone REPORT_STDERR_BYTES_MAX. Output has a limit of its own (batcher.py).
2. Remarks and the progress of a clone take at most REMARK_BYTES_MAX in one attempt. One more remark
   counts as the mark of the cut; the rest is dropped. The other reports are few: those of a clone,
   and five for each step.
"""

from dataclasses import replace
from typing import Any, Final

from msgspec import structs

from airunner.model.jobs import AttemptEnd, Job, Outcome, TaskToken
from airunner.model.limits import (
    REMARK_BYTES_MAX,
    REPORT_STDERR_BYTES_MAX,
    REPORT_TEXT_BYTES_MAX,
)
from airunner.model.reports import TEXTS, CloneProgressed, Output, Remark, Report
from airunner.system.bounded_text import bounded_text
from airunner.worker.attempt.handle import AttemptHandle
from airunner.worker.attempt.stop import StopRequest
from airunner.worker.process import Deadline

CUT: Final = "further remarks of this attempt are left out: REMARK_BYTES_MAX ({} bytes) was reached"
_OVERHEAD_BYTES: Final = 64  # of a report in the log


class BoundedHandle:
    """An AttemptHandle that keeps another one's reports within the limits."""

    def __init__(self, handle: AttemptHandle) -> None:
        self._handle = handle
        self._room = REMARK_BYTES_MAX  # for remarks

    @property
    def job(self) -> Job:
        return self._handle.job

    @property
    def token(self) -> TaskToken:
        return self._handle.token

    @property
    def stop(self) -> StopRequest:
        return self._handle.stop

    @property
    def deadline(self) -> Deadline:
        return self._handle.deadline

    @property
    def output_bytes_max(self) -> int:
        return self._handle.output_bytes_max

    async def confirmed(self) -> None:
        """As AttemptHandle.confirmed."""
        await self._handle.confirmed()

    async def report(self, report: Report) -> None:
        """As AttemptHandle.report, within the limits."""
        if isinstance(report, Output):
            await self._handle.report(report)
            return
        report = bounded_report(report)
        if isinstance(report, Remark | CloneProgressed):
            if self._room <= 0:
                return
            self._room -= len(report.message.encode()) + _OVERHEAD_BYTES
            if self._room <= 0:
                report = Remark(CUT.format(REMARK_BYTES_MAX))
        await self._handle.report(report)

    def end(self, verdict: Outcome | AttemptEnd) -> None:
        """As AttemptHandle.end, within the limits."""
        self._handle.end(bounded_outcome(verdict) if isinstance(verdict, Outcome) else verdict)


def bounded_report(report: Report) -> Report:
    """The report with all of its texts within the limits."""
    changes: dict[str, Any] = {
        name: bounded
        for name in TEXTS[type(report)]
        if (bounded := bounded_text(text := getattr(report, name), _limit(name))) != text
    }
    return replace(report, **changes) if changes else report


def bounded_outcome(outcome: Outcome) -> Outcome:
    """The outcome with all of its texts within the limits."""
    steps = tuple(
        structs.replace(step, name=bounded_text(step.name, REPORT_TEXT_BYTES_MAX))
        for step in outcome.steps
    )
    error = bounded_text(outcome.error, REPORT_TEXT_BYTES_MAX)
    return structs.replace(outcome, error=error, steps=steps)


def _limit(name: str) -> int:
    return REPORT_STDERR_BYTES_MAX if name == "stderr" else REPORT_TEXT_BYTES_MAX
