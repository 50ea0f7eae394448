"""How much a server keeps, and for how long."""

from dataclasses import dataclass
from typing import Final

from airunner.model import limits
from airunner.model.jobs import Millis

AGE = Millis(limits.FINISHED_SECONDS_KEPT * 1000)
SPARED = Millis(limits.FINISHED_SECONDS_SPARED * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The bounds of a server's memory and of its log. The oldest jobs are removed first.

    A finished job stays for at least `spared` after its end, and while it is watched.
    """

    jobs_max: int = limits.JOBS_MAX  # queued, running and finished together
    spec_bytes_max: int = limits.JOBS_SPEC_BYTES_MAX  # counted texts of all jobs' specs
    finished_max: int = limits.FINISHED_JOBS_KEPT
    finished_age: Millis = AGE
    spared: Millis = SPARED
    output_bytes_per_job: int = limits.MEMORY_OUTPUT_BYTES_PER_JOB
    output_bytes_total: int = limits.MEMORY_OUTPUT_BYTES_TOTAL
    reports_per_job: int = limits.REPORTS_PER_JOB_MAX
    leases_per_job: int = limits.LEASES_PER_JOB_MAX
    artifacts_per_job: int = limits.ARTIFACTS_PER_JOB_MAX  # of all attempts
    artifact_bytes_per_job: int = limits.MEMORY_ARTIFACT_BYTES_PER_JOB
    artifact_bytes_total: int = limits.MEMORY_ARTIFACT_BYTES_TOTAL


IN_MEMORY: Final = Retention()
ON_DISK: Final = Retention(
    output_bytes_per_job=limits.OUTPUT_BYTES_MAX,  # the job's own limit is lower
    output_bytes_total=limits.SQLITE_OUTPUT_BYTES_TOTAL,
    artifact_bytes_per_job=limits.ARTIFACT_BYTES_PER_JOB,
    artifact_bytes_total=limits.SQLITE_ARTIFACT_BYTES_TOTAL,
)
