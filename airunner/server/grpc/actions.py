"""The action that each gRPC method takes, by the method's full name.

A method that is not in the table is closed to every caller, so a new RPC is closed until it has a row.
"""

from collections.abc import Mapping
from typing import Final

from airunner.server.policy import Action

ACTIONS: Final[Mapping[str, Action]] = {
    "/job.v1.JobService/EnqueueJob": Action.SUBMIT_JOBS,
    "/job.v1.JobService/EnqueueJobs": Action.SUBMIT_JOBS,
    "/job.v1.JobService/CancelJob": Action.CANCEL_JOBS,
    "/job.v1.JobService/RetryJob": Action.RETRY_JOBS,
    "/job.v1.JobService/GetJob": Action.VIEW_JOBS,
    "/job.v1.JobService/ListJobs": Action.VIEW_JOBS,
    "/job.v1.JobService/QueueStats": Action.VIEW_QUEUES,
    "/job.v1.JobService/DequeueJob": Action.RUN_JOBS,
    "/job.v1.JobService/UpdateJob": Action.RUN_JOBS,
    "/job.v1.JobService/CompleteJob": Action.RUN_JOBS,
    "/job.v1.JobService/ReleaseJob": Action.RUN_JOBS,
    "/job.v1.JobService/Work": Action.RUN_JOBS,
    "/job.v1.JobEventsService/StreamJobEvents": Action.WATCH_JOBS,
    "/job.v1.JobEventsService/StreamEvents": Action.WATCH_JOBS,
    "/job.v1.JobEventsService/PublishJobEvents": Action.RUN_JOBS,
    "/job.v1.JobArtifactsService/ListArtifacts": Action.READ_ARTIFACTS,
    "/job.v1.JobArtifactsService/DownloadArtifact": Action.READ_ARTIFACTS,
    "/job.v1.JobArtifactsService/UploadArtifact": Action.STORE_ARTIFACTS,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Action.DESCRIBE_SERVER,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Action.DESCRIBE_SERVER,
}

# Open to every peer, without a token: the calls of load balancers and orchestrators.
OPEN: Final = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
    }
)
