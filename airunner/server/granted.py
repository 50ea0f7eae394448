"""What a caller gets who asks for work."""

from dataclasses import dataclass

from airunner.jobs import Job, TaskToken


@dataclass(frozen=True, slots=True)
class Granted:
    """A job on lease, and the one secret that speaks for the lease."""

    job: Job
    token: TaskToken
