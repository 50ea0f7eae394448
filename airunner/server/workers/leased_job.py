"""A leased job, as a worker receives it."""

from msgspec import Struct

from airunner.model.jobs import Job, TaskToken


class LeasedJob(Struct, frozen=True, gc=False):
    """A job on lease, and the secret that identifies the lease."""

    job: Job
    token: TaskToken
