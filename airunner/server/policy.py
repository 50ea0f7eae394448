"""The policy at the edge of the server: permissions, visibility and defaults, in no protocol.

One table says which roles may take which action. An interface (gRPC today, gateways later) maps each
of its calls to an action; a call without an action is closed. The same rules hold for every
interface: the visibility of environment values, and the defaults of a request.

A new limit or a new refusal belongs here, never into the model. The model checks each fact when a log
is read back, so a check there that became stricter would make an existing log unreadable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from airunner.model.errors import NotAllowed
from airunner.model.jobs import Job, JobRequest, Millis, RequestId, Subject
from airunner.model.limits import (
    DEQUEUE_JOBS_MAX,
    REQUEST_ID_BYTES_MAX,
    VISIBILITY_SECONDS_DEFAULT,
    VISIBILITY_SECONDS_MAX,
    VISIBILITY_SECONDS_MIN,
)
from airunner.model.namespaces import DEFAULT_NAMESPACE
from airunner.model.repositories import check_no_secret, has_secret
from airunner.model.spec import DEFAULT_QUEUE, JobSpec, check_queue
from airunner.model.validation import check_range, check_text_size


class Role(StrEnum):
    VIEWER = "viewer"  # looks
    USER = "user"  # looks, submits, cancels and retries
    WORKER = "worker"  # looks and runs jobs; neither submits nor cancels
    ADMIN = "admin"  # everything


class Action(StrEnum):
    SUBMIT_JOBS = "submit jobs"
    CANCEL_JOBS = "cancel jobs"
    RETRY_JOBS = "retry jobs"
    VIEW_JOBS = "view jobs"
    VIEW_QUEUES = "view queues"
    WATCH_JOBS = "watch jobs"
    READ_ARTIFACTS = "read artifacts"
    RUN_JOBS = "run jobs"  # lease, renew, report, complete, give back
    STORE_ARTIFACTS = "store artifacts"
    DESCRIBE_SERVER = "describe the server"  # reflection


_LOOK = frozenset({Role.VIEWER, Role.USER, Role.WORKER, Role.ADMIN})
_ASK = frozenset({Role.USER, Role.ADMIN})
_RUN = frozenset({Role.WORKER, Role.ADMIN})

ALLOWED: Final[Mapping[Action, frozenset[Role]]] = {
    Action.SUBMIT_JOBS: _ASK,
    Action.CANCEL_JOBS: _ASK,
    Action.RETRY_JOBS: _ASK,
    Action.VIEW_JOBS: _LOOK,
    Action.VIEW_QUEUES: _LOOK,
    Action.WATCH_JOBS: _LOOK,
    Action.READ_ARTIFACTS: _LOOK,
    Action.RUN_JOBS: _RUN,
    Action.STORE_ARTIFACTS: _RUN,
    Action.DESCRIBE_SERVER: _LOOK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A subject whose token was verified, with the roles of the token."""

    subject: Subject
    roles: frozenset[Role]
    expires: float | None  # seconds since the epoch; None: never
    namespace: str = DEFAULT_NAMESPACE


def may(action: Action | None, roles: frozenset[Role]) -> bool:
    """True if a caller with any of these roles may take the action; None is no action, and closed."""
    return action is not None and bool(roles & ALLOWED[action])


def may_see_environment(caller: Caller, job: Job) -> bool:
    """True if the caller may see the values of a job's environment: its submitter and an admin."""
    return Role.ADMIN in caller.roles or caller.subject == job.submitter


def check_may_retry(caller: Caller, job: Job) -> None:
    """Refuses a retry that would show or use another's secrets. Raises NotAllowed.

    A retry has the parameters of the old job and the caller as its submitter, and a submitter sees the
    values of the environment, and a repository with all that its URL has.
    """
    spec = job.spec
    secret = (
        spec.environment
        or any(step.environment for step in spec.steps or ())
        or has_secret(spec.repository)
    )
    if secret and not may_see_environment(caller, job):
        raise NotAllowed(
            f"job {job.id} has values of its submitter that {caller.subject} may not see: "
            "only the submitter or an admin may retry it"
        )


# The defaults and the limits of requests


def job_request(spec: JobSpec, request_id: str, caller: Caller) -> JobRequest:
    """A caller's request for a new job, in the caller's namespace. Raises InvalidRequest."""
    if spec.namespace != caller.namespace:
        spec = replace(spec, namespace=caller.namespace)
    return JobRequest(spec=spec, request=checked_request_id(request_id), submitter=caller.subject)


def check_new_job(spec: JobSpec) -> None:
    """Refuses a spec that the model accepts for the sake of old logs. Raises InvalidRequest.

    It is a check of new jobs: not of a retry, nor of a request whose key stands for a job already.
    """
    if spec.repository:
        check_no_secret(spec.repository)


def checked_request_id(text: str) -> RequestId:
    """An idempotency key; an empty one is none. Raises InvalidRequest."""
    check_text_size("request_id", text, REQUEST_ID_BYTES_MAX, "REQUEST_ID_BYTES_MAX")
    return RequestId(text)


def queue_or_default(queue: str) -> str:
    """The queue that a caller names, or the default queue. Raises InvalidRequest."""
    queue = queue or DEFAULT_QUEUE
    check_queue(queue)
    return queue


def jobs_to_lease(count: int) -> int:
    """The most jobs that a caller wants at once; 0 means one. Raises InvalidRequest."""
    count = count or 1
    check_range("max_jobs", count, 1, DEQUEUE_JOBS_MAX, "jobs (DEQUEUE_JOBS_MAX)")
    return count


def visibility_timeout(seconds: int) -> Millis:
    """A lease's span; 0 means the published default. Raises InvalidRequest."""
    seconds = seconds or VISIBILITY_SECONDS_DEFAULT
    low, high = VISIBILITY_SECONDS_MIN, VISIBILITY_SECONDS_MAX
    check_range("visibility_timeout_seconds", seconds, low, high, "s")
    return Millis(seconds * 1000)
