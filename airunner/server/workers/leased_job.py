"""What a caller gets who asks for work."""

from msgspec import Struct

from airunner.model.jobs import Job, TaskToken


class LeasedJob(Struct, frozen=True, gc=False):
    """A job on lease, and the one secret that speaks for the lease."""

    job: Job
    token: TaskToken
