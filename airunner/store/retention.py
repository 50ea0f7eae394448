"""How much is kept, and for how long."""

from dataclasses import dataclass
from typing import Final

from airunner.model import limits
from airunner.model.jobs import Millis

AGE = Millis(limits.FINISHED_SECONDS_KEPT * 1000)
SPARED = Millis(limits.FINISHED_SECONDS_SPARED * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What bounds a server's memory and its log. What goes, goes oldest first.

    No finished job goes sooner than `spared` after its end, or while it is watched.
    """

    jobs_max: int = limits.JOBS_MAX  # queued, running and finished together
    script_bytes_max: int = limits.JOBS_SCRIPT_BYTES_MAX  # of all of these, in memory
    finished_max: int = limits.FINISHED_JOBS_KEPT
    finished_age: Millis = AGE
    spared: Millis = SPARED
    output_bytes_per_job: int = limits.MEMORY_OUTPUT_BYTES_PER_JOB
    output_bytes_total: int = limits.MEMORY_OUTPUT_BYTES_TOTAL
    artifact_bytes_per_job: int = limits.MEMORY_ARTIFACT_BYTES_PER_JOB
    artifact_bytes_total: int = limits.MEMORY_ARTIFACT_BYTES_TOTAL


IN_MEMORY: Final = Retention()
ON_DISK: Final = Retention(
    output_bytes_per_job=limits.OUTPUT_BYTES_MAX,  # whatever the job's own limit allows
    output_bytes_total=limits.SQLITE_OUTPUT_BYTES_TOTAL,
    artifact_bytes_per_job=limits.ARTIFACT_BYTES_PER_JOB,
    artifact_bytes_total=limits.SQLITE_ARTIFACT_BYTES_TOTAL,
)
