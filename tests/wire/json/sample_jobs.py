"""Jobs whose JSON, table lines and prose tests compare."""

from airunner.model.jobs import (
    Instant,
    Job,
    JobId,
    JobState,
    Outcome,
    Position,
    Reason,
    StepResult,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import Step, StepStatus

NOW = Instant(1_900_000_000_000)
STEPS = JobSpec(
    name="nightly",
    steps=(Step(run="make"), Step(name="test", run="make check\nmake lint"), Step(run="deploy")),
    environment={"A": "b"},
    artifacts=("dist/", "*.log"),
)
RESULTS = (
    StepResult(
        name="make",
        status=StepStatus.SUCCESS,
        exit_code=0,
        started_at=Instant(NOW - 2_000),
        ended_at=Instant(NOW - 800),
    ),
    StepResult(
        name="test",
        status=StepStatus.FAILED,
        exit_code=2,
        started_at=Instant(NOW - 800),
        ended_at=NOW,
    ),
    StepResult(name="deploy", status=StepStatus.SKIPPED),
)
FAILED = Outcome(reason=Reason.EXITED, exit_code=2, error="in step 2 of 3 (test)", steps=RESULTS)


def job(command: str = "make", *args: str, outcome: Outcome | None = None) -> Job:
    return asked(JobSpec(command=command, args=args), outcome=outcome)


def asked(spec: JobSpec, *, outcome: Outcome | None = None) -> Job:
    return Job(
        id=JobId("id-1"),
        spec=spec,
        place=Position(1),
        created_at=Instant(NOW - 60_000),
        updated_at=NOW,
        attempt=1,
        state=outcome.state if outcome else JobState.SCHEDULED,
        outcome=outcome,
        finished_at=NOW if outcome else None,
    )
