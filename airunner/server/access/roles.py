"""Who may call what: one table, and the whole of the server's authorisation.

A role is in a token (auth.py). Whoever has any role of a call's row may make it; admin
may make all of them. What is not in the table nobody may call, so that a new RPC is
closed until somebody opens it here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    VIEWER = "viewer"  # looks
    USER = "user"  # looks, submits, cancels and retries
    WORKER = "worker"  # looks, and runs jobs; neither submits nor cancels
    ADMIN = "admin"  # everything


_LOOK = frozenset({Role.VIEWER, Role.USER, Role.WORKER, Role.ADMIN})
_ASK = frozenset({Role.USER, Role.ADMIN})
_RUN = frozenset({Role.WORKER, Role.ADMIN})

# By service and method; of the reflection services every method is open to all roles.
ALLOWED: Final[Mapping[str, frozenset[Role]]] = {
    "/job.v1.JobService/EnqueueJob": _ASK,
    "/job.v1.JobService/EnqueueJobs": _ASK,
    "/job.v1.JobService/CancelJob": _ASK,
    "/job.v1.JobService/RetryJob": _ASK,
    "/job.v1.JobService/GetJob": _LOOK,
    "/job.v1.JobService/ListJobs": _LOOK,
    "/job.v1.JobService/QueueStats": _LOOK,
    "/job.v1.JobService/DequeueJob": _RUN,
    "/job.v1.JobService/UpdateJob": _RUN,
    "/job.v1.JobService/CompleteJob": _RUN,
    "/job.v1.JobService/ReleaseJob": _RUN,
    "/job.v1.JobService/Work": _RUN,
    "/job.v1.JobEventsService/StreamJobEvents": _LOOK,
    "/job.v1.JobEventsService/StreamEvents": _LOOK,
    "/job.v1.JobEventsService/PublishJobEvents": _RUN,
    "/job.v1.JobArtifactsService/ListArtifacts": _LOOK,
    "/job.v1.JobArtifactsService/DownloadArtifact": _LOOK,
    "/job.v1.JobArtifactsService/UploadArtifact": _RUN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _LOOK,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _LOOK,
}

# Open to everybody, without a token: what load balancers and orchestrators ask.
OPEN: Final = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
    }
)


def may_call(method: str, roles: frozenset[Role]) -> bool:
    """Whether a caller with these roles may make this call."""
    return bool(roles & ALLOWED.get(method, frozenset()))
