"""The JSON of verdicts: whether a job's log is whole, by its seal."""

from airunner.model.jobs import Job
from airunner.model.proof.proof import Differs, Unproven, Unsealed, Verdict, Whole
from airunner.wire.json.seals import seal_json
from airunner.wire.json.times import Json


def verdict_json(job: Job, verdict: Verdict) -> Json:
    """The verdict (whole, unproven, differs or unsealed) and the evidence for it.

    Members that do not apply to a verdict are null, empty or 0.
    """
    seal = verdict.seal if isinstance(verdict, Whole | Unproven) else None
    return {
        "id": job.id,
        "verdict": type(verdict).__name__.lower(),
        "seal": seal_json(seal) if seal else None,
        "events": verdict.last if isinstance(verdict, Unsealed) else seal.count if seal else None,
        "log_complete": job.outcome.log_complete if job.outcome else None,
        "differs": (
            {"first": verdict.first, "last": verdict.last, "why": verdict.why}
            if isinstance(verdict, Differs)
            else None
        ),
        "dropped": (
            [{"first": first, "last": last} for first, last in verdict.dropped]
            if isinstance(verdict, Unproven)
            else []
        ),
        "dropped_bytes": verdict.size if isinstance(verdict, Unproven) else 0,
    }
