"""The server's log lines about jobs: one line for each change of a job's state.

A line consists of the fields that this module names. None of them is a token, the value of an
environment variable, or output.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import assert_never

from airunner.model.facts import (
    ArtifactKept,
    ArtifactsDropped,
    CancelRequested,
    Enqueued,
    Event,
    Fact,
    Finished,
    Forgotten,
    Leased,
    OutputDropped,
    Renewed,
    Reported,
    ReportTotals,
    Returned,
    SubjectFact,
)
from airunner.model.spec import JobSpec
from airunner.server.outbox import EventListener

Line = tuple[str, Mapping[str, object]]  # the name of the line, and its fields


def log_job_events(write: Callable[[Iterable[Line]], None]) -> EventListener:
    """A listener that writes one line for each durable change of a job's state."""

    def tell(events: Sequence[Event]) -> None:
        lines = ((event, _line(event.fact)) for event in events)
        write((line[0], {"job": event.job, **line[1]}) for event, line in lines if line is not None)

    return tell


def _work(spec: JobSpec) -> Mapping[str, object]:
    """The work of a job without its arguments and texts, which may be secret."""
    said: dict[str, object] = {"name": spec.name, "source": spec.source, "command": spec.command}
    said = {key: value for key, value in said.items() if value}
    if spec.script:
        said["script_chars"] = len(spec.script)
    if spec.steps is not None:
        said["steps"] = len(spec.steps)
    return said


def _line(fact: Fact) -> Line | None:
    match fact:
        case Enqueued(spec=spec, submitter=submitter, retry_of=retry_of):
            fields = {"queue": spec.queue, "submitter": submitter, **_work(spec)}
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
        case ArtifactsDropped():
            return "job_artifacts_dropped", {}
        case Forgotten():
            return "job_forgotten", {}
        case Renewed() | Reported() | ReportTotals() | ArtifactKept() | SubjectFact():
            return None
        case _:
            assert_never(fact)
