"""One attempt, from top to bottom.

    workspace -> checkout -> launch -> output -> exit -> last word -> workspace removed

Rules

1. The last word is said when no process of the attempt is left, and not before: a job
   that is told to be CANCELLED has stopped.
2. Whatever wants the attempt to stop asks its Halt. During set-up that is the end of its time, and
   a git in it dies. Later the tree gets SIGTERM, the job's grace, and SIGKILL.
3. What stood when the command ended decides: an exit that came before a timeout or a drain is
   that exit. A cancel is the exception, since the server makes every end after it CANCELLED;
   the exit code that raced it stays in the outcome.
4. A lost lease kills the tree at once, and nothing more is said.
5. A job that asks for a container fails. It never runs on the host instead.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from structlog.typing import FilteringBoundLogger

from airunner.jobs import Ending, Instant, Millis, Outcome, Reason
from airunner.limits import SETUP_TIMEOUT_SECONDS
from airunner.reports import ProcessEnded, ProcessFailed, ProcessStarted
from airunner.worker.batcher import Batcher
from airunner.worker.clock import Clock
from airunner.worker.environment import job_environment
from airunner.worker.halt import Why
from airunner.worker.hold import Hold, LeaseLost
from airunner.worker.process import (
    Command,
    CommandNotFound,
    Exit,
    KeeperLost,
    Launcher,
    LaunchError,
    LaunchLost,
    NotExecutable,
    Process,
    ProcessLost,
)
from airunner.worker.spool.spools import MemorySpools, Spools
from airunner.worker.workspace import CheckoutFailed, SetupFailed, Workspace, Workspaces

NO_CONTAINERS = "this worker cannot run containers: leave `container` out, or use one that can"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a worker runs its jobs with."""

    launcher: Launcher
    workspaces: Workspaces
    clock: Clock
    log: FilteringBoundLogger
    spools: Spools = field(default_factory=MemorySpools)


class Run:
    """One attempt of one job."""

    def __init__(self, tenure: Hold, place: Place) -> None:
        self._tenure = tenure
        self._spec = tenure.job.spec
        self._halt = tenure.halt
        self._place = place
        self._log = place.log.bind(job=tenure.job.id, attempt=tenure.job.attempt)
        self.keeper_lost: KeeperLost | None = None  # this worker can start nothing any more

    async def play(self) -> None:
        """Run the attempt and say its last word; no process of it is left when this returns."""
        self._log.info("job_leased", queue=self._spec.queue)
        workspace: Workspace | None = None
        try:
            try:
                workspace = self._place.workspaces.make(self._tenure.job)
                verdict = await self._attempt(workspace)
            except SetupFailed as failure:
                verdict = await self._fail(Reason.SETUP_FAILED, str(failure))
            self._tenure.end(verdict)
            self._log.info("attempt_over")
        except* LeaseLost:
            pass  # and the session has said so
        finally:
            if workspace:
                await workspace.remove()

    async def _attempt(self, workspace: Workspace) -> Outcome | Ending:
        if self._spec.container is not None:
            return await self._fail(Reason.SETUP_FAILED, NO_CONTAINERS)
        process = await self._set_up(workspace)
        if not isinstance(process, Outcome | Ending):
            return await self._follow(process)
        return process

    # Set-up

    async def _set_up(self, workspace: Workspace) -> Process | Outcome | Ending:
        """A running command, or how it came to none."""
        try:
            async with asyncio.timeout(SETUP_TIMEOUT_SECONDS) as limit:
                with self._halt.heeded(partial(_end_now, limit)):
                    return await self._launch(workspace)
        except TimeoutError:
            if not limit.expired():
                raise
            if self._halt.why is None:
                self._halt.ask(Why.SETUP_TIMEOUT)
            return self._stopped()

    def _stopped(self) -> Outcome | Ending:
        """How an attempt ends that was stopped before its command ran."""
        match self._halt.why:
            case Why.CANCEL:
                return Outcome(reason=Reason.CANCELLED, error="cancelled before the command ran")
            case Why.SETUP_TIMEOUT:
                error = f"set-up took longer than SETUP_TIMEOUT_SECONDS ({SETUP_TIMEOUT_SECONDS} s)"
                return Outcome(reason=Reason.SETUP_FAILED, error=error)
            case Why.LOST:
                raise LeaseLost
            case _:
                return Ending.RELEASED

    async def _launch(self, workspace: Workspace) -> Process | Outcome | Ending:
        try:
            await workspace.fetch(self._tenure.report)
            directory = workspace.directory(self._spec.working_directory)
        except CheckoutFailed as failure:
            return Outcome(reason=Reason.SETUP_FAILED, error=str(failure))
        except SetupFailed as failure:
            return await self._fail(Reason.SETUP_FAILED, str(failure))
        await self._tenure.confirmed()
        command = Command(
            argv=(self._spec.command, *self._spec.args),
            environment=job_environment(self._tenure.job, workspace.home),
            directory=directory,
            process_type=self._spec.process_type,
            terminal=self._spec.terminal,
        )
        try:
            return await self._place.launcher.launch(command)
        except CommandNotFound as error:
            return await self._fail(Reason.NOT_FOUND, str(error), 127)
        except NotExecutable as error:
            return await self._fail(Reason.NOT_EXECUTABLE, str(error), 126)
        except KeeperLost as error:
            self.keeper_lost = error
            return Ending.RELEASED  # not the job's fault, and it has not run
        except LaunchLost as lost:
            self._log.error("process_lost", why=str(lost))
            return Ending.LOST
        except LaunchError as error:
            return await self._fail(Reason.SETUP_FAILED, str(error))

    async def _fail(self, reason: Reason, error: str, exit_code: int | None = None) -> Outcome:
        await self._tenure.report(ProcessFailed(error))
        return Outcome(reason=reason, exit_code=exit_code, error=error)

    # The command

    async def _follow(self, process: Process) -> Outcome | Ending:
        """Report what a running command does, to the end of its tree."""
        clock, report = self._place.clock, self._tenure.report
        batcher = Batcher(report, clock, self._tenure.output_bytes_max)
        try:
            started_at = clock.now()
            self._log.info("job_started", pid=process.pid)
            await report(ProcessStarted(process.pid, started_at))
            async with asyncio.TaskGroup() as tasks:
                stopper = tasks.create_task(self._terminate(process))
                output = tasks.create_task(batcher.pump(process))
                with self._time_limit():
                    end = await self._end_of(process)
                    why, ended_at = self._halt.why, clock.now()
                    await asyncio.wait([output])
                if why is not None:  # others of the tree have the same grace as the command
                    await process.terminate(self._spec.grace_seconds)
                stopper.cancel()
            await process.close()
            if end is None:
                return Ending.LOST
            await report(ProcessEnded(process.pid, end.code, Millis(ended_at - started_at)))
        finally:
            await process.close()
        return self._judge(end, why, started_at, ended_at)

    async def _end_of(self, process: Process) -> Exit | None:
        """How the command ended; None if its keeper died with it, which counts as a failure."""
        try:
            return await process.wait()
        except ProcessLost as lost:
            self._log.error("process_lost", why=str(lost))
            return None

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Ask for a stop when the command has run for as long as it may."""
        if not (seconds := self._spec.timeout_seconds):
            yield
            return
        timer = asyncio.get_running_loop().call_later(seconds, self._halt.ask, Why.TIMEOUT)
        try:
            yield
        finally:
            timer.cancel()

    async def _terminate(self, process: Process) -> None:
        await self._halt.asked()
        async with asyncio.TaskGroup() as tasks:
            killer = tasks.create_task(self._kill(process))
            await process.terminate(self._spec.grace_seconds)
            killer.cancel()

    async def _kill(self, process: Process) -> None:
        await self._halt.urgent()
        await process.terminate(0)

    def _judge(
        self, end: Exit, why: Why | None, started_at: Instant, ended_at: Instant
    ) -> Outcome | Ending:
        """How the attempt ended, by its exit and by what stood at that moment."""
        error = ""
        match why:
            case Why.DRAIN:
                return Ending.RELEASED
            case Why.CANCEL:
                reason = Reason.CANCELLED
            case Why.TIMEOUT:
                reason = Reason.TIMEOUT
                error = f"the command ran longer than its timeout of {self._spec.timeout_seconds} s"
            case _:
                reason = Reason.EXITED if end.signal is None else Reason.SIGNALED
        return Outcome(
            reason=reason,
            exit_code=end.code,
            signal=end.signal,
            error=error,
            started_at=started_at,
            ended_at=ended_at,
        )


def _end_now(limit: asyncio.Timeout) -> None:
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time())
