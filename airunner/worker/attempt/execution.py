"""The execution of one attempt, from its workspace to its final report.

    workspace -> checkout or source -> stages in order -> artifacts -> final report
                                                                    -> workspace removed

Rules

1. The final report is sent when no process of the attempt is left, and not before: a job that is
   reported as CANCELLED has stopped.
2. Each request to stop the attempt goes to its StopRequest. During set-up, a request ends the
   set-up, and a running git dies. Later it ends the tree of the running stage (stage_run.py), also
   if its command does not start, and no further stage starts.
3. The results of the stages decide the job's outcome (stage_results.py).
4. A lost lease kills the tree at once, and no report is sent any more.
5. An attempt on a worker whose disk is full is given back before it has begun.
6. A defect of airunner's own ends its attempt and no more: the job fails, and the worker's log has
   the traceback.
7. A job that requires a container fails. It never runs on the host instead.
8. Artifacts are collected after the last stage, also after a failed one; for a cancelled job only
   if its spec asks for them. A job that succeeded and whose artifacts cannot be stored has failed.
"""

import asyncio
import dataclasses
import traceback
from functools import partial

from msgspec.structs import replace

from airunner.model.jobs import AttemptEnd, Instant, JobState, Millis, Outcome, Reason
from airunner.model.limits import (
    COLLECT_SECONDS_MAX,
    REPORT_STDERR_BYTES_MAX,
    REPORT_TEXT_BYTES_MAX,
)
from airunner.model.reports import ProcessFailed, Remark, StepEnded, StepStarted
from airunner.system.bounded_text import bounded_text
from airunner.worker.attempt.background import BackgroundLost, BackgroundSteps
from airunner.worker.attempt.batcher import OutputRoom
from airunner.worker.attempt.bounded_handle import BoundedHandle
from airunner.worker.attempt.handle import AttemptHandle, LeaseLost
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.attempt.stage_results import StageNotStarted, StageResults
from airunner.worker.attempt.stage_run import StageRun
from airunner.worker.attempt.stages import Stage, plan
from airunner.worker.attempt.stop import StopReason, time_limit
from airunner.worker.process import (
    CommandNotFound,
    LaunchError,
    LaunchLost,
    NotExecutable,
    Process,
    ProcessLost,
    SupervisorLost,
)
from airunner.worker.workspace.workspace import (
    CheckoutFailed,
    Collected,
    NoRoom,
    SetupFailed,
    Summary,
    Workspace,
)

NO_CONTAINERS = "this worker cannot run containers: leave `container` out, or use one that can"
DEFECT = "the attempt failed by a defect of airunner's own ({}): see the log of its worker"
SETUP_TIMED_OUT = (
    "set-up took longer than {:g} s, checkout included: check that the server of the repository "
    "answers, or start the worker with a longer --setup-timeout"
)
NO_UPLOADS = "this worker cannot upload artifacts to its server"
_REMARKS = 20  # on artifacts that were not stored, at most


class Execution:
    """The execution of one attempt of one job."""

    def __init__(self, handle: AttemptHandle, runtime: Runtime) -> None:
        self._handle = BoundedHandle(handle)
        self._spec = handle.job.spec
        self._stop = handle.stop
        self._runtime = runtime
        self._log = runtime.log.bind(job=handle.job.id, attempt=handle.job.attempt)
        self.supervisor_lost: SupervisorLost | None = None  # the worker can start no command
        self.no_room: NoRoom | None = None  # the worker's disk is full
        self.crashed = False  # by a defect

    async def run(self) -> None:
        """Runs the attempt and sends its final report; then no process of the attempt is left."""
        self._log.info("job_leased", queue=self._spec.queue)
        workspace: Workspace | None = None
        try:
            try:
                workspace = self._runtime.workspaces.make(self._handle.job)
                verdict = await self._attempt(workspace)
                await workspace.release_folders()
            except NoRoom as full:
                verdict = await self._give_back(full)
            except SetupFailed as failure:
                verdict = await self._fail(Reason.SETUP_FAILED, str(failure))
            self._handle.end(verdict)
            self._log.info("attempt_over")
        except* LeaseLost:
            pass  # the session has logged it
        except* Exception as defect:
            self._handle.end(self._crash(defect))
        finally:
            if workspace:
                await self._remove(workspace)

    async def _give_back(self, full: NoRoom) -> AttemptEnd:
        self.no_room = full
        await self._handle.report(Remark(f"given back by a worker without room: {full}"))
        return AttemptEnd.RELEASED

    async def _remove(self, workspace: Workspace) -> None:
        try:
            await workspace.remove()
        except Exception as defect:
            self._crash(defect)

    def _crash(self, defect: Exception) -> Outcome:
        """Logs a defect with its traceback; returns the outcome of a job that it ended."""
        while isinstance(defect, ExceptionGroup) and len(defect.exceptions) == 1:
            defect = defect.exceptions[0]
        self.crashed = True
        trace = "".join(traceback.format_exception(defect))
        self._log.error(
            "attempt_crashed",
            why=bounded_text(str(defect), REPORT_TEXT_BYTES_MAX),
            exception=bounded_text(trace, REPORT_STDERR_BYTES_MAX),
        )
        error = DEFECT.format(type(defect).__name__)
        return Outcome(reason=Reason.SETUP_FAILED, error=error)

    async def _attempt(self, workspace: Workspace) -> Outcome | AttemptEnd:
        if self._spec.container is not None:
            return await self._fail(Reason.SETUP_FAILED, NO_CONTAINERS)
        began = self._runtime.clock.now()
        stages = await self._set_up(workspace)
        if isinstance(stages, AttemptEnd):
            return stages
        if isinstance(stages, Outcome):
            stage_results, verdict = StageResults((), 0), stages
        else:
            stage_results = StageResults(stages, self._spec.timeout_seconds)
            ended = await self._run(stage_results, workspace)
            if isinstance(ended, AttemptEnd):
                return ended
            verdict = ended
        return await self._conclude(workspace, stage_results, verdict, began)

    # Set-up

    async def _set_up(self, workspace: Workspace) -> tuple[Stage, ...] | Outcome | AttemptEnd:
        """Prepares the workspace; returns the stages, or the attempt's end if the set-up failed."""
        try:
            async with asyncio.timeout(self._runtime.setup_seconds) as limit:
                with self._stop.on_stop(partial(_end_now, limit)):
                    return await self._prepare(workspace)
        except TimeoutError:
            if not limit.expired():
                raise
            if self._stop.why is None:
                self._stop.ask(StopReason.SETUP_TIMEOUT)
            return self._stopped()

    async def _prepare(self, workspace: Workspace) -> tuple[Stage, ...] | Outcome | AttemptEnd:
        try:
            await workspace.fetch(self._handle.report, self._handle.deadline)
            stages = plan(self._spec, workspace.steps)
        except CheckoutFailed as failure:
            return Outcome(reason=Reason.SETUP_FAILED, error=str(failure))
        except SetupFailed as failure:
            return await self._fail(Reason.SETUP_FAILED, str(failure))
        except SupervisorLost as error:
            self.supervisor_lost = error
            return AttemptEnd.RELEASED
        except ProcessLost as lost:
            self._log.error("process_lost", why=str(lost))
            return AttemptEnd.LOST
        await self._handle.confirmed()
        return stages

    def _stopped(self) -> Outcome | AttemptEnd:
        """The end of an attempt that was stopped while no command of it ran."""
        match self._stop.why:
            case StopReason.CANCEL:
                return Outcome(reason=Reason.CANCELLED, error="cancelled before the command ran")
            case StopReason.TIMEOUT:
                limit = self._spec.timeout_seconds
                error = f"the job ran longer than its timeout of {limit} s"
                return Outcome(reason=Reason.TIMEOUT, error=error)
            case StopReason.SETUP_TIMEOUT:
                error = SETUP_TIMED_OUT.format(self._runtime.setup_seconds)
                return Outcome(reason=Reason.SETUP_FAILED, error=error)
            case StopReason.LOST:
                raise LeaseLost
            case _:
                return AttemptEnd.RELEASED

    async def _fail(self, reason: Reason, error: str, exit_code: int | None = None) -> Outcome:
        await self._handle.report(ProcessFailed(error))
        return Outcome(reason=reason, exit_code=exit_code, error=error)

    # The stages

    async def _run(self, stage_results: StageResults, workspace: Workspace) -> Outcome | AttemptEnd:
        """Runs the stages, and ends those in the background after the last one."""
        stopped: Outcome | AttemptEnd | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                background = BackgroundSteps(tasks, self._handle, stage_results)
                with time_limit(self._stop, self._spec.timeout_seconds):
                    stopped = await self._run_stages(stage_results, workspace, background)
                background.end(given_back=isinstance(stopped, AttemptEnd))
        except* BackgroundLost:
            stopped = AttemptEnd.LOST
        return stopped if isinstance(stopped, AttemptEnd) else stage_results.outcome(stopped)

    async def _run_stages(
        self, stage_results: StageResults, workspace: Workspace, background: BackgroundSteps
    ) -> Outcome | AttemptEnd | None:
        """Runs the stages in order until one of them ends the job; the end of a stopped attempt."""
        room = OutputRoom(self._handle.output_bytes_max)
        for stage in stage_results.stages:
            if stage_results.over:
                break
            if not stage_results.admits(stage):
                stage_results.skip(stage)
                continue
            if self._stop.why is not None:
                return self._stopped()
            if stage.step is not None:
                await self._handle.report(StepStarted(stage.step, stage.title))
            stage_run = StageRun(stage, self._handle, workspace, self._runtime, room)
            if stopped := await self._run_stage(stage_run, stage_results, workspace, background):
                return stopped
        return None

    async def _run_stage(
        self,
        stage_run: StageRun,
        stage_results: StageResults,
        workspace: Workspace,
        background: BackgroundSteps,
    ) -> Outcome | AttemptEnd | None:
        """Runs a stage and records its result; the end of the attempt if it was stopped."""
        stage = stage_run.stage
        began = self._runtime.clock.now()
        process = await self._launch(stage_run)
        if isinstance(process, Outcome | AttemptEnd):
            return process
        if isinstance(process, StageNotStarted):
            result = stage_results.record(stage, process)
        else:
            self._log.info("job_started", pid=process.pid)
            if not stage.background:
                await stage_run.follow(process)
            elif await background.start(stage_run, process, began):
                if refused := await self._take_variables(workspace):
                    background.refuse(stage_run, refused)
                return None
            if (ran := stage_run.exited.result()) is None:
                return AttemptEnd.LOST
            if ran.why is StopReason.DRAIN:
                return AttemptEnd.RELEASED
            refused = await self._take_variables(workspace)
            result = stage_results.record(stage, dataclasses.replace(ran, refused=refused))
        if stage.step is not None:
            took = Millis(self._runtime.clock.now() - began)
            await self._handle.report(
                StepEnded(stage.step, stage.title, result.status, result.exit_code, took)
            )
        return None

    async def _take_variables(self, workspace: Workspace) -> str:
        """Takes the variables that a stage gives to the later ones; returns a refusal, or ""."""
        try:
            workspace.take_variables()
        except ValueError as error:
            await self._handle.report(Remark(str(error)))
            return str(error)
        return ""

    async def _launch(
        self, stage_run: StageRun
    ) -> Process | StageNotStarted | Outcome | AttemptEnd:
        """Starts the stage's command; returns it, or the reason why it does not run.

        A command that stops its shim, or that is on a drive that hangs, may start never.
        """
        try:
            async with asyncio.timeout(None) as limit:
                with self._stop.on_stop(partial(_end_now, limit)):
                    return await stage_run.launch()
        except TimeoutError:
            if not limit.expired():
                raise
            return self._stopped()
        except CommandNotFound as error:
            failed = StageNotStarted(reason=Reason.NOT_FOUND, error=str(error), exit_code=127)
        except NotExecutable as error:
            failed = StageNotStarted(reason=Reason.NOT_EXECUTABLE, error=str(error), exit_code=126)
        except SupervisorLost as error:
            self.supervisor_lost = error
            return AttemptEnd.RELEASED  # not the job's fault, and no process of it runs
        except LaunchLost as lost:
            self._log.error("process_lost", why=str(lost))
            return AttemptEnd.LOST
        except (SetupFailed, LaunchError) as error:
            failed = StageNotStarted(reason=Reason.SETUP_FAILED, error=str(error), exit_code=None)
        await self._handle.report(ProcessFailed(failed.error))
        return failed

    # Artifacts and results

    async def _conclude(
        self, workspace: Workspace, stage_results: StageResults, verdict: Outcome, began: Instant
    ) -> Outcome | AttemptEnd:
        """Collects the artifacts, writes the results, and returns the outcome with their errors."""
        results, collected = workspace.results, Collected()
        if stage_results.begun and not self._is_given_up:
            collection = await self._collect(workspace)
            if isinstance(collection, AttemptEnd):
                return collection
            collected = collection
        if self._stop.why is StopReason.CANCEL:
            verdict = replace(verdict, reason=Reason.CANCELLED)
        elif collected.remark:
            await self._handle.report(Remark(collected.remark))
        verdict = await self._with_errors(verdict, collected.errors)
        if results:
            summary = Summary(
                job=self._handle.job,
                outcome=verdict,
                steps=stage_results.summaries(),
                collected=collected,
                started_at=began,
                ended_at=self._runtime.clock.now(),
            )
            verdict = await self._with_errors(verdict, await results.conclude(summary))
        return verdict

    async def _collect(self, workspace: Workspace) -> Collected | AttemptEnd:
        """Stores the artifacts; a cancel, a lost lease or a kill of the worker ends the transfer.

        They go to the results folder if there is one, else to the server if the job names any.
        """
        if workspace.results:
            sink = workspace.results.sink
        elif not self._spec.artifacts:
            return Collected()
        elif not self._runtime.uploads:
            return Collected(errors=(NO_UPLOADS,))
        else:
            sink = self._runtime.uploads(self._handle.token)
        try:
            async with asyncio.timeout(COLLECT_SECONDS_MAX) as limit:
                with self._stop.on_stop(partial(self._end_if_final, limit)):
                    return await workspace.collect(sink)
        except TimeoutError:
            if not limit.expired():
                raise
        if self._stop.why is StopReason.LOST:
            raise LeaseLost
        if self._is_given_up:
            return Collected()
        if self._stop.is_urgent:
            return AttemptEnd.RELEASED
        limit_name = f"COLLECT_SECONDS_MAX ({COLLECT_SECONDS_MAX} s)"
        return Collected(errors=(f"storing the artifacts took longer than {limit_name}",))

    @property
    def _is_given_up(self) -> bool:
        """Whether the job was cancelled and its artifacts are not wanted any more."""
        return self._stop.why is StopReason.CANCEL and not self._spec.artifacts_on_cancel

    def _end_if_final(self, limit: asyncio.Timeout) -> None:
        if self._is_given_up or self._stop.why is StopReason.LOST or self._stop.is_urgent:
            _end_now(limit)

    async def _with_errors(self, verdict: Outcome, errors: tuple[str, ...]) -> Outcome:
        """The outcome with the errors of artifacts or results; the log gets them as remarks."""
        if not errors:
            return verdict
        for error in errors[:_REMARKS]:
            await self._handle.report(Remark(error))
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        error = "; ".join(filter(None, (verdict.error, f"{errors[0]}{more}")))
        if verdict.state is JobState.COMPLETED:
            return replace(verdict, reason=Reason.ARTIFACTS_FAILED, error=error)
        return replace(verdict, error=error)


def _end_now(limit: asyncio.Timeout) -> None:
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time())
