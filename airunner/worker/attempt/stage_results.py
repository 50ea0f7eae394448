"""How far the stages of an attempt have come, and what that makes of its job.

Rules

1. What stood when a command ended decides: an exit that came before a timeout or a drain is that
   exit. A cancel is the exception, since every end after it is CANCELLED; the exit code that raced it
   stays in the outcome.
2. The first stage that fails ends the job, with its exit code; those behind it are skipped.
   A stage that goes on leaves a failure, or a timeout of its own, to itself.
3. A job without a stage has succeeded.
"""

from dataclasses import dataclass

from airunner.model.jobs import Instant, Outcome, Reason, StepResult
from airunner.model.steps import IN_STEP, StepStatus
from airunner.worker.attempt.stages import Stage
from airunner.worker.attempt.stop import StopReason
from airunner.worker.process import Exit
from airunner.worker.workspace.workspace import StepSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class StageExit:
    """How a stage's command ended, and what stood then."""

    exit: Exit
    why: StopReason | None  # the attempt was to stop
    overdue: bool  # it ran longer than its own timeout
    started_at: Instant
    ended_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNotStarted:
    """Why a stage's command could not be started."""

    reason: Reason
    error: str
    exit_code: int | None


class StageResults:
    """What came of each stage so far."""

    def __init__(self, stages: tuple[Stage, ...], timeout_seconds: int) -> None:
        """`timeout_seconds` is the job's, for whoever is told of it."""
        self.stages = stages
        self._timeout_seconds = timeout_seconds
        self._results: list[StepResult] = []
        self._ended: Outcome | None = None

    @property
    def begun(self) -> bool:
        """Whether a stage has had its turn."""
        return bool(self._results)

    def record(self, stage: Stage, came: StageExit | StageNotStarted) -> StepResult:
        """Take in how a stage ended, and what that means for the job."""
        status, outcome = self._judge(stage, came)
        ran = came if isinstance(came, StageExit) else None
        result = StepResult(
            name=stage.title,
            status=status,
            exit_code=came.exit.code if isinstance(came, StageExit) else came.exit_code,
            started_at=ran.started_at if ran else None,
            ended_at=ran.ended_at if ran else None,
        )
        self._results.append(result)
        stopped = ran is not None and ran.why in (StopReason.CANCEL, StopReason.TIMEOUT)
        if stopped or (status is not StepStatus.SUCCESS and not stage.goes_on):
            self._ended = outcome
        return result

    @property
    def over(self) -> bool:
        """Whether no further stage has its turn."""
        return self._ended is not None or len(self._results) == len(self.stages)

    def outcome(self, stopped: Outcome | None = None) -> Outcome:
        """The job's end; `stopped`: why no further stage had its turn, if that is not its course."""
        times = [each for each in self._results if each.started_at is not None]
        ended = self._ended or stopped or Outcome(reason=Reason.EXITED, exit_code=0)
        return Outcome(
            reason=ended.reason,
            exit_code=ended.exit_code,
            signal=ended.signal,
            error=ended.error,
            started_at=times[0].started_at if times else None,
            ended_at=times[-1].ended_at if times else None,
            steps=self.results() if any(each.step is not None for each in self.stages) else (),
        )

    def results(self) -> tuple[StepResult, ...]:
        """Of every stage; those that had no turn are skipped."""
        left = self.stages[len(self._results) :]
        skipped = (StepResult(name=each.title, status=StepStatus.SKIPPED) for each in left)
        return (*self._results, *skipped)

    def summaries(self) -> tuple[StepSummary, ...]:
        """The same for the results that people find in a folder."""
        return tuple(
            StepSummary(
                command=stage.command,
                name=stage.name,
                status=result.status,
                exit_code=result.exit_code,
                started_at=result.started_at,
                ended_at=result.ended_at,
            )
            for stage, result in zip(self.stages, self.results(), strict=True)
        )

    def _judge(self, stage: Stage, came: StageExit | StageNotStarted) -> tuple[StepStatus, Outcome]:
        if isinstance(came, StageNotStarted):
            error = self._placed(stage, came.error)
            return StepStatus.FAILED, Outcome(
                reason=came.reason, exit_code=came.exit_code, error=error
            )
        status, reason, error = StepStatus.FAILED, Reason.EXITED, ""
        if came.why is StopReason.CANCEL:
            status, reason = StepStatus.CANCELLED, Reason.CANCELLED
        elif came.why is StopReason.TIMEOUT:
            status, reason = StepStatus.TIMEOUT, Reason.TIMEOUT
            what = "command" if stage.step is None else "job"
            error = f"the {what} ran longer than its timeout of {self._timeout_seconds} s"
        elif came.overdue:
            status, reason = StepStatus.TIMEOUT, Reason.TIMEOUT
            error = f"the step ran longer than its timeout of {stage.timeout_seconds} s"
        elif came.exit.signal is not None:
            reason = Reason.SIGNALED
        elif came.exit.code == 0:
            status = StepStatus.SUCCESS
        return status, Outcome(
            reason=reason,
            exit_code=came.exit.code,
            signal=came.exit.signal,
            error=self._placed(stage, error),
        )

    def _placed(self, stage: Stage, error: str) -> str:
        """The error, with the step in which it came up."""
        if stage.step is None:
            return error
        place = f"{IN_STEP}{stage.step + 1} of {len(self.stages)} ({stage.title})"
        return f"{place}: {error}" if error else place
