"""The results of an attempt's stages so far, and the outcome of the job that follows from them.

Rules

1. The state at the command's end decides: an exit before a timeout or a drain counts as that exit.
   A cancel is the exception: every end after it is CANCELLED, and the exit code that raced it stays
   in the outcome.
2. The first failing stage fails the job, with its exit code; after it only stages run whose
   condition says so, and none of them changes the outcome. A stage with `continue_on_error` fails
   the job neither by a failure nor by its own timeout.
3. A job without a stage has succeeded.
"""

from dataclasses import dataclass

from airunner.model.jobs import Instant, Outcome, Reason, StepResult
from airunner.model.steps import IN_STEP, StepCondition, StepStatus
from airunner.worker.attempt.stages import Stage
from airunner.worker.attempt.stop import StopReason
from airunner.worker.process import Exit
from airunner.worker.workspace.workspace import StepSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class StageExit:
    """The end of a stage's command, and the state at that moment."""

    exit: Exit
    why: StopReason | None  # a stop of the attempt was requested
    overdue: bool  # the stage ran longer than its own timeout
    dismissed: bool = False  # a background step, ended because the job was over
    started_at: Instant
    ended_at: Instant
    refused: str = ""  # a sentence about the variables that the stage gave


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNotStarted:
    """The reason why a stage's command was not started."""

    reason: Reason
    error: str
    exit_code: int | None


class StageResults:
    """The results of the stages so far."""

    def __init__(self, stages: tuple[Stage, ...], timeout_seconds: int) -> None:
        """`timeout_seconds` is the job's timeout, for the error message."""
        self.stages = stages
        self._timeout_seconds = timeout_seconds
        self._results: list[StepResult] = []
        self._ended: Outcome | None = None  # of the first failure
        self._held: dict[int | None, int] = {}  # steps that run on, with the place of their result
        self._stopped = False  # by a cancel or the job's timeout, while a stage ran

    @property
    def begun(self) -> bool:
        """Whether a stage was started."""
        return any(each.status is not StepStatus.SKIPPED for each in self._results)

    def admits(self, stage: Stage) -> bool:
        """Whether a stage runs, as the stages before it have ended."""
        if stage.when is StepCondition.ALWAYS:
            return True
        return (self._ended is not None) == (stage.when is StepCondition.ON_FAILURE)

    def skip(self, stage: Stage) -> None:
        """Records that a stage does not run."""
        self._results.append(StepResult(name=stage.title, status=StepStatus.SKIPPED))

    def record(self, stage: Stage, end: StageExit | StageNotStarted) -> StepResult:
        """Records the end of a stage and its consequence for the job."""
        status, outcome = self._judge(stage, end)
        ran = end if isinstance(end, StageExit) else None
        result = _result(stage, status, end)
        self._results.append(result)
        self._stopped = ran is not None and ran.why in (StopReason.CANCEL, StopReason.TIMEOUT)
        failed = status is not StepStatus.SUCCESS and not stage.continue_on_error
        if (self._stopped or failed) and not self._ended:
            self._ended = outcome
        return result

    def hold(self, stage: Stage, started_at: Instant) -> None:
        """Records that a background stage runs on; settle() records its end."""
        self._held[stage.step] = len(self._results)
        self._results.append(
            StepResult(name=stage.title, status=StepStatus.SUCCESS, started_at=started_at)
        )

    def settle(self, stage: Stage, end: StageExit) -> StepResult:
        """Records the end of a background stage, which has no consequence for the job."""
        result = _result(stage, self._judge(stage, end)[0], end)
        self._results[self._held[stage.step]] = result
        return result

    @property
    def over(self) -> bool:
        """Whether no further stage runs."""
        left = self.stages[len(self._results) :]
        return self._stopped or not any(map(self.admits, left))

    def outcome(self, stopped: Outcome | None = None) -> Outcome:
        """The job's outcome; `stopped` is the outcome if a stop prevented further stages."""
        begins = [each.started_at for each in self._results if each.started_at is not None]
        ends = [each.ended_at for each in self._results if each.ended_at is not None]
        ended = self._ended or stopped or Outcome(reason=Reason.EXITED, exit_code=0)
        return Outcome(
            reason=ended.reason,
            exit_code=ended.exit_code,
            signal=ended.signal,
            error=ended.error,
            started_at=min(begins, default=None),
            ended_at=max(ends, default=None),
            steps=self.results() if any(each.step is not None for each in self.stages) else (),
        )

    def results(self) -> tuple[StepResult, ...]:
        """The result of every stage; a stage that has not run is skipped."""
        left = self.stages[len(self._results) :]
        skipped = (StepResult(name=each.title, status=StepStatus.SKIPPED) for each in left)
        return (*self._results, *skipped)

    def summaries(self) -> tuple[StepSummary, ...]:
        """The results in the form of the folder `results/`."""
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

    def _judge(self, stage: Stage, end: StageExit | StageNotStarted) -> tuple[StepStatus, Outcome]:
        if isinstance(end, StageNotStarted):
            error = self._placed(stage, end.error)
            return StepStatus.FAILED, Outcome(
                reason=end.reason, exit_code=end.exit_code, error=error
            )
        status, reason, error = StepStatus.FAILED, Reason.EXITED, ""
        if end.why is StopReason.CANCEL:
            status, reason = StepStatus.CANCELLED, Reason.CANCELLED
        elif end.why is StopReason.TIMEOUT:
            status, reason = StepStatus.TIMEOUT, Reason.TIMEOUT
            subject = "command" if stage.step is None else "job"
            error = f"the {subject} ran longer than its timeout of {self._timeout_seconds} s"
        elif end.overdue:
            status, reason = StepStatus.TIMEOUT, Reason.TIMEOUT
            error = f"the step ran longer than its timeout of {stage.timeout_seconds} s"
        elif end.dismissed or end.exit == Exit(code=0):
            if end.refused:
                error = self._placed(stage, end.refused)
                return status, Outcome(reason=Reason.FAILED, error=error)
            status = StepStatus.SUCCESS
        elif end.exit.signal is not None:
            reason = Reason.SIGNALED
        return status, Outcome(
            reason=reason,
            exit_code=end.exit.code,
            signal=end.exit.signal,
            error=self._placed(stage, error),
        )

    def _placed(self, stage: Stage, error: str) -> str:
        """The error message, with the step in which the error occurred."""
        if stage.step is None:
            return error
        place = f"{IN_STEP}{stage.step + 1} of {len(self.stages)} ({stage.title})"
        return f"{place}: {error}" if error else place


def _result(stage: Stage, status: StepStatus, end: StageExit | StageNotStarted) -> StepResult:
    if isinstance(end, StageNotStarted):
        return StepResult(name=stage.title, status=status, exit_code=end.exit_code)
    return StepResult(
        name=stage.title,
        status=status,
        exit_code=None if end.dismissed else end.exit.code,
        started_at=end.started_at,
        ended_at=end.ended_at,
    )
