"""The rules at the edge: who may do what, who sees which values, and what a request leaves out."""

import pytest
from msgspec.structs import replace

from airunner.model.errors import InvalidRequest, NotAllowed
from airunner.model.jobs import Instant, Job, JobId, JobState, Position, Subject
from airunner.model.limits import DEQUEUE_JOBS_MAX, REQUEST_ID_BYTES_MAX, VISIBILITY_SECONDS_MAX
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.server.policy import (
    ALLOWED,
    Action,
    Caller,
    Role,
    check_may_retry,
    check_new_job,
    checked_request_id,
    job_request,
    jobs_to_lease,
    may,
    may_see_environment,
    queue_or_default,
    visibility_timeout,
)

SPEC = JobSpec(command="true", environment={"KEY": "value"})


def caller(name: str, *roles: Role) -> Caller:
    return Caller(subject=Subject(name), roles=frozenset(roles), expires=None)


def job_of(submitter: str) -> Job:
    at = Instant(0)
    return Job(
        id=JobId("one"),
        spec=SPEC,
        place=Position(1),
        created_at=at,
        updated_at=at,
        queued_at=at,
        submitter=Subject(submitter),
        state=JobState.SCHEDULED,
    )


@pytest.mark.parametrize("action", Action)
def test_an_action_needs_one_of_its_roles(action: Action) -> None:
    assert may(action, frozenset({Role.ADMIN}))
    assert not may(action, frozenset())
    for role in Role:
        assert may(action, frozenset({role})) == (role in ALLOWED[action])


def test_a_call_without_an_action_is_closed_to_every_role() -> None:
    assert not may(None, frozenset(Role))


def test_a_worker_neither_submits_nor_cancels_and_a_user_runs_nothing() -> None:
    for action in (Action.SUBMIT_JOBS, Action.CANCEL_JOBS, Action.RETRY_JOBS):
        assert not may(action, frozenset({Role.WORKER, Role.VIEWER}))
    for action in (Action.RUN_JOBS, Action.STORE_ARTIFACTS):
        assert not may(action, frozenset({Role.USER, Role.VIEWER}))


def test_the_values_of_an_environment_are_for_the_submitter_and_an_admin() -> None:
    job = job_of("ada")
    assert may_see_environment(caller("ada", Role.USER), job)
    assert may_see_environment(caller("bob", Role.ADMIN), job)
    for role in (Role.USER, Role.VIEWER, Role.WORKER):
        assert not may_see_environment(caller("bob", role), job)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        JobSpec(steps=(Step(run="true", environment={"KEY": "value"}),)),
        JobSpec(
            command="true",
            repository="https://ghp_0123456789abcdefghijABCDEFGHIJ012345@localhost/x.git",
        ),
    ],
    ids=["environment", "environment of a step", "repository of an old job"],
)
def test_a_retry_of_anothers_job_with_secrets_is_refused(spec: JobSpec) -> None:
    job = replace(job_of("ada"), spec=spec)
    check_may_retry(caller("ada", Role.USER), job)
    check_may_retry(caller("bob", Role.ADMIN), job)
    with pytest.raises(NotAllowed, match="only the submitter or an admin may retry it"):
        check_may_retry(caller("bob", Role.USER), job)
    check_may_retry(caller("bob", Role.USER), replace(job, spec=JobSpec(command="true")))


def test_a_request_is_made_in_the_name_of_its_caller() -> None:
    request = job_request(SPEC, "key", caller("ada", Role.USER))
    assert (request.spec, request.request, request.submitter) == (SPEC, "key", "ada")


def test_a_request_leaves_its_defaults_to_the_policy() -> None:
    assert queue_or_default("") == "default"
    assert queue_or_default("builds") == "builds"
    assert jobs_to_lease(0) == 1
    assert visibility_timeout(0) == 300_000
    assert visibility_timeout(60) == 60_000


def test_a_request_past_a_limit_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="REQUEST_ID_BYTES_MAX"):
        checked_request_id("x" * (REQUEST_ID_BYTES_MAX + 1))
    with pytest.raises(InvalidRequest, match="queue"):
        queue_or_default("no queue at all!")
    with pytest.raises(InvalidRequest, match="DEQUEUE_JOBS_MAX"):
        jobs_to_lease(DEQUEUE_JOBS_MAX + 1)
    with pytest.raises(InvalidRequest, match="visibility_timeout_seconds"):
        visibility_timeout(VISIBILITY_SECONDS_MAX + 1)


@pytest.mark.parametrize("user", ["ghp_NOTAREALTOKEN", "0123456789abcdef0123456789abcdef"])
def test_a_token_as_user_name_of_a_repository_is_refused_in_a_new_job(user: str) -> None:
    spec = JobSpec(command="true", repository=f"https://{user}@host/x.git")  # as a log may have
    with pytest.raises(InvalidRequest, match="repository: has a token in it"):
        check_new_job(spec)
    check_new_job(JobSpec(command="true", repository="https://ada@host/x.git"))
