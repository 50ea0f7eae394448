"""What the server logs of itself: one line for each step that a job takes.

None has a token, a value of an environment variable or output in it: a line is made of the
fields that are named here.
"""

from collections.abc import Callable, Mapping
from typing import assert_never

from structlog.typing import FilteringBoundLogger

from airunner.facts import (
    CancelRequested,
    Enqueued,
    Event,
    Finished,
    Forgotten,
    Leased,
    OutputDropped,
    Renewed,
    Reported,
    Returned,
    Tallied,
)
from airunner.jobs import Job


def job_lines(journal: FilteringBoundLogger) -> Callable[[Event, Job | None], None]:
    """A listener that writes a line for each step of a job, once it is durable."""

    def write(event: Event, job: Job | None) -> None:
        if (told := _line(event)) is not None:
            name, fields = told
            journal.info(name, job=event.fact.id, **fields)

    return write


def _line(event: Event) -> tuple[str, Mapping[str, object]] | None:
    match event.fact:
        case Enqueued(spec=spec, submitter=submitter, retry_of=retry_of):
            fields = {"queue": spec.queue, "submitter": submitter, "command": spec.command}
            return "job_enqueued", fields | ({"retry_of": retry_of} if retry_of else {})
        case Leased(_, attempt, lease):
            return "job_leased", {"attempt": attempt, "worker": lease.worker}
        case Returned(_, attempt, ending, failures):
            return "job_returned", {"attempt": attempt, "ending": ending, "failures": failures}
        case CancelRequested(by=by):
            return "job_cancel_requested", {"by": by}
        case Finished(state=state, outcome=outcome):
            return f"job_{state}", {"reason": outcome.reason, "exit_code": outcome.exit_code}
        case OutputDropped():
            return "job_output_dropped", {}
        case Forgotten():
            return "job_forgotten", {}
        case Renewed() | Reported() | Tallied():
            return None
        case _:
            assert_never(event.fact)
