"""The JSON of verdicts."""

import json

import pytest

from airunner.model.jobs import JobState, Outcome, Reason, Sequence
from airunner.model.proof.proof import Differs, Unproven, Unsealed, Verdict, Whole
from airunner.model.proof.seal import Link, Seal
from airunner.wire.json.times import Json
from airunner.wire.json.verdicts import verdict_json
from tests.wire.json.sample_jobs import job

SEAL = Seal(count=4, size=9, cut=0, digest=Link(bytes(32)))
SEAL_JSON = {"count": 4, "size": 9, "cut": 0, "digest": "00" * 32}


@pytest.mark.parametrize(
    ("verdict", "members"),
    [
        (Whole(SEAL), {"verdict": "whole", "seal": SEAL_JSON, "events": 4}),
        (
            Unproven(SEAL, 7, ((Sequence(2), Sequence(3)),)),
            {
                "verdict": "unproven",
                "seal": SEAL_JSON,
                "events": 4,
                "dropped": [{"first": 2, "last": 3}],
                "dropped_bytes": 7,
            },
        ),
        (
            Differs(Sequence(2), Sequence(3), "it is missing"),
            {"verdict": "differs", "differs": {"first": 2, "last": 3, "why": "it is missing"}},
        ),
        (Unsealed(Sequence(6)), {"verdict": "unsealed", "events": 6}),
    ],
)
def test_a_verdict_has_the_members_that_apply_to_it(
    verdict: Verdict, members: dict[str, object]
) -> None:
    without: Json = {
        "id": "id-1",
        "seal": None,
        "events": None,
        "log_complete": None,
        "differs": None,
        "dropped": [],
        "dropped_bytes": 0,
    }
    found = verdict_json(job(), verdict)
    assert found == {**without, **members}
    assert json.loads(json.dumps(found)) == found


def test_an_incomplete_log_is_reported_with_the_verdict() -> None:
    outcome = Outcome(reason=Reason.LOST, log_complete=False)
    assert outcome.state is JobState.FAILED
    assert verdict_json(job(outcome=outcome), Whole(SEAL))["log_complete"] is False
