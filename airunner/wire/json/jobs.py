"""The JSON of jobs: short in a list, whole for a single job."""

from msgspec import to_builtins

from airunner.model.jobs import Job
from airunner.model.repositories import redacted
from airunner.model.spec import Checkout
from airunner.model.wait_reason import WaitReason
from airunner.wire.json.results import results_json
from airunner.wire.json.steps import steps_json
from airunner.wire.json.times import Json, show_instant


def job_json(job: Job) -> Json:
    """A job in a list. The server may have shortened its script and its steps."""
    outcome, spec = job.outcome, job.spec
    return {
        "id": job.id,
        "name": spec.name,
        "state": job.state.value,
        "queue": spec.queue,
        "attempt": job.attempt,
        "exit_code": outcome.exit_code if outcome else None,
        "reason": outcome.reason.value if outcome else None,
        "signal": outcome.signal if outcome else None,
        "error": redacted(outcome.error) if outcome else "",
        "command": spec.command,
        "args": list(spec.args),
        "script": spec.script,
        "steps": None if spec.steps is None else steps_json(spec.steps),
        "shell": spec.shell,
        "source": spec.source,
        "repository": redacted(spec.repository),
        "artifacts": list(spec.artifacts),
        "submitter": job.submitter,
        "retry_of": job.retry_of,
        "created_at": show_instant(job.created_at),
        "started_at": show_instant(outcome.started_at if outcome else job.leased_at),
        "finished_at": show_instant(job.finished_at),
    }


def job_details_json(job: Job, waiting: WaitReason | None) -> Json:
    """A single job: also the rest of its spec, its attempts, and the reason why it waits."""
    spec = job.spec
    return {
        **job_json(job),
        "branch": spec.branch,
        "commit": spec.commit,
        "checkout": _checkout_json(spec.checkout),
        "working_directory": spec.working_directory,
        "environment": dict(spec.environment),
        "metadata": dict(spec.metadata),
        "owner": spec.owner,
        "process_type": spec.process_type.value,
        "merge_stderr": spec.merge_stderr,
        "strict": spec.strict,
        "artifacts_on_cancel": spec.artifacts_on_cancel,
        "terminal": to_builtins(spec.terminal),
        "container": to_builtins(spec.container),
        "timeout_seconds": spec.timeout_seconds,
        "queue_timeout_seconds": spec.queue_timeout_seconds,
        "grace_seconds": spec.grace_seconds,
        "attempts_max": spec.attempts_max,
        "output_bytes_max": spec.output_bytes_max,
        "request_id": job.request or None,
        "failures": job.failures,
        "worker": job.lease.worker if job.lease else None,
        "cancel_requested_at": show_instant(job.cancel_requested_at),
        "output_bytes": job.output_bytes,
        "output_bytes_cut": job.output_bytes_cut,
        "artifacts_kept": job.artifacts,
        "artifact_bytes": job.artifact_bytes,
        "step_results": results_json(job.outcome.steps) if job.outcome else [],
        "log_complete": job.outcome.log_complete if job.outcome else None,
        "attempts": [
            {
                "attempt": each.number,
                "worker": each.worker,
                "ending": each.ending.value,
                "leased_at": show_instant(each.leased_at),
                "ended_at": show_instant(each.ended_at),
            }
            for each in job.attempts
        ],
        "waiting": None if waiting is None else waiting.explanation,
    }


def _checkout_json(checkout: Checkout | None) -> Json | None:
    return None if checkout is None else {**to_builtins(checkout), "sparse": list(checkout.sparse)}
