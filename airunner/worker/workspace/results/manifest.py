"""The content of `result.json`: the summary of an attempt, for scripts and people.

    {"jobId": "0190...", "name": "nightly", "status": "failed",
     "timing": {"start": "2031-04-01T09:00:00.250Z", "end": ..., "durationMs": 1250},
     "steps": [{"index": 0, "command": "make", "name": "build", "status": "success", "exitCode": 0,
                "durationMs": 900, "log": "step_0.log"}, ...],
     "artifacts": [{"path": "out/shop.tar", "size": 10240, "sha256": "..."}, ...],
     "errors": ["artifact 'out/x' cannot be read: Permission denied"],
     "error": null}

- `status` is success, failed, cancelled or timeout. The status of a step can also be skipped.
- `name` is present if the job or the step has a name. `errors` is present if logs or artifacts are
  incomplete, which is a failure. `error` is null for a success, or else a sentence.
- `exitCode` is null if the step never ran or never ended, `log` is null if the step has no log, and
  `durationMs` is 0 if the step never ran. Times are the worker's clock's.
"""

import json
from collections.abc import Callable

from airunner.model.jobs import JobState, Outcome, Reason
from airunner.model.steps import IN_STEP
from airunner.model.units import show_time
from airunner.worker.workspace.results.logs import log_name
from airunner.worker.workspace.workspace import StepSummary, Summary


def manifest(summary: Summary, has_log: Callable[[int], bool], errors: tuple[str, ...]) -> bytes:
    """Encodes `result.json`; `errors` are the errors of the logs, which the outcome does not hold."""
    job, outcome = summary.job, summary.outcome
    error = "; ".join(filter(None, (_error(outcome), *errors)))
    errors = (*summary.collected.errors, *errors)
    content: dict[str, object] = {
        "jobId": job.id,
        **({"name": job.spec.name} if job.spec.name else {}),
        "status": _status(outcome, complete=not errors),
        "timing": {
            "start": show_time(summary.started_at),
            "end": show_time(summary.ended_at),
            "durationMs": summary.ended_at - summary.started_at,
        },
        "steps": [
            _step(index, step, has_log=has_log(index)) for index, step in enumerate(summary.steps)
        ],
        "artifacts": [
            {"path": each.path, "size": each.size, "sha256": each.sha256}
            for each in summary.collected.artifacts
        ],
        **({"errors": errors} if errors else {}),
        "error": error or None,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return f"{text}\n".encode(errors="backslashreplace")


def _status(outcome: Outcome, *, complete: bool) -> str:
    if outcome.reason is Reason.TIMEOUT:
        return "timeout"
    match outcome.state:
        case JobState.COMPLETED:
            return "success" if complete else "failed"  # as Reason.ARTIFACTS_FAILED
        case JobState.CANCELLED:
            return "cancelled"
        case _:
            return "failed"


def _step(index: int, step: StepSummary, *, has_log: bool) -> dict[str, object]:
    began, ended = step.started_at, step.ended_at
    return {
        "index": index,
        "command": step.command,
        **({"name": step.name} if step.name else {}),
        "status": step.status,
        "exitCode": step.exit_code,
        "durationMs": 0 if began is None or ended is None else ended - began,
        "log": log_name(index) if has_log else None,
    }


def _error(outcome: Outcome) -> str:
    """The outcome's error; an error that only names the step is preceded by the step's end."""
    if not outcome.error.startswith(IN_STEP):
        return outcome.error
    match outcome.reason:
        case Reason.EXITED:
            return f"exited with {outcome.exit_code} {outcome.error}"
        case Reason.SIGNALED:
            return f"ended by signal {outcome.signal} {outcome.error}"
        case Reason.TIMEOUT:
            return f"timed out {outcome.error}"
        case Reason.CANCELLED:
            return f"cancelled {outcome.error}"
        case _:
            return outcome.error
