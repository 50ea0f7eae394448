"""Tokens in a log of an earlier version, wherever the log is shown."""

import json

from airunner.cli.render.events import remark
from airunner.cli.render.jobs import job_prose, job_table
from airunner.model.job_events import JobEvent, JobEventBody
from airunner.model.jobs import Instant, Outcome, Reason, Sequence
from airunner.model.reports import (
    CloneFailed,
    CloneProgressed,
    CloneStarted,
    ProcessFailed,
    Remark,
)
from airunner.model.spec import JobSpec
from airunner.wire.codec.specs import encode_spec
from airunner.wire.json.events import event_json
from airunner.wire.json.jobs import job_details_json
from tests.wire.json.sample_jobs import NOW, asked

SECRET = "ghp_NOTAREALTOKEN"
ADDRESS = f"https://{SECRET}@host/x.git"
WORDS = f"fatal: unable to access '{ADDRESS}/': 403"
SPEC = JobSpec(command="true", repository=ADDRESS)
BODIES: tuple[JobEventBody, ...] = (
    CloneStarted(ADDRESS, "", "", Instant(0)),
    CloneProgressed(WORDS),
    CloneFailed(WORDS, f"{WORDS}\n{WORDS}"),
    ProcessFailed(WORDS),
    Remark(WORDS),
)


def test_a_job_is_shown_without_its_token() -> None:
    failed = Outcome(reason=Reason.SETUP_FAILED, error=f"checkout failed: {WORDS}")
    job = asked(SPEC, outcome=failed)
    shown = [
        *job_prose(job, None),
        *job_table([job], NOW, colour=False, headings=False),
        json.dumps(job_details_json(job, None)),
    ]
    assert SECRET not in "\n".join(shown)
    assert "repository  https://***@host/x.git" in shown


def test_an_event_is_shown_without_a_token() -> None:
    for body in BODIES:
        event = JobEvent(first=Sequence(1), last=Sequence(1), at=Instant(0), attempt=1, body=body)
        assert SECRET not in json.dumps(list(event_json(event)))
        assert SECRET not in (remark(body) or "")
        assert "https://***@host/x.git" in (remark(body) or "")


def test_another_caller_than_the_submitter_gets_no_token_from_the_server() -> None:
    assert encode_spec(SPEC, with_values=False).repository == "https://***@host/x.git"
    assert encode_spec(SPEC).repository == ADDRESS  # a worker clones it
