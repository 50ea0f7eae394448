"""The run of one stage: its command, from the launch to the end of the process tree.

Rules

1. When a stop of the attempt is requested, or the stage's timeout has passed, the tree gets
   SIGTERM, the job's grace period, and SIGKILL.
2. The run ends when no process of the tree is left and its whole output is reported.
3. The tree of a background step lives until `job_over` is set, or until rule 1 ends it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from airunner.model.jobs import Instant, Millis
from airunner.model.reports import ProcessEnded, ProcessStarted
from airunner.worker.attempt.batcher import Batcher, OutputRoom
from airunner.worker.attempt.handle import AttemptHandle
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.attempt.stage_results import StageExit
from airunner.worker.attempt.stages import Stage, interpreters
from airunner.worker.environment import job_environment
from airunner.worker.process import Command, CommandNotFound, Exit, Process, ProcessLost
from airunner.worker.workspace.workspace import Workspace

_CUT: Final = b"\n[%d bytes were cut here: the job's limit of output was reached]\n"


class StageRun:
    """The run of one stage."""

    def __init__(
        self,
        stage: Stage,
        handle: AttemptHandle,
        workspace: Workspace,
        runtime: Runtime,
        room: OutputRoom,
    ) -> None:
        self.stage = self._stage = stage
        self.exited: asyncio.Future[StageExit | None] = asyncio.get_running_loop().create_future()
        self.job_over = asyncio.Event()  # of a background step
        self._dismissed = False  # the command still ran at the end of the job
        self._handle = handle
        self._spec = handle.job.spec
        self._stop_request = handle.stop
        self._room = room
        self._workspace = workspace
        self._launcher = runtime.launcher
        self._environment = runtime.environment
        self._clock = runtime.clock
        self._log = runtime.log
        self._overdue = False

    async def launch(self) -> Process:
        """Starts the command. Raises SetupFailed or LaunchError."""
        stage = self._stage
        if stage.step is not None:
            self._workspace.open_variables()
        if not stage.text:
            return await self._launcher.launch(self._command(stage.argv))
        directory = self._workspace.directory(stage.directory)
        path = await self._workspace.script(stage.text)
        chosen = interpreters(self._spec, stage.text)
        *others, last = chosen.candidates
        for shell in others:
            with suppress(CommandNotFound):
                return await self._launcher.launch(self._command((*shell, path), directory))
        try:
            return await self._launcher.launch(self._command((*last, path), directory))
        except CommandNotFound:
            raise CommandNotFound(f"there is no {chosen.kind} {last[0]!r} on this worker") from None

    def _command(self, argv: tuple[str, ...], directory: str | None = None) -> Command:
        stage, job = self._stage, self._handle.job
        if directory is None:
            directory = self._workspace.directory(stage.directory)
        return Command(
            argv=argv,
            environment=job_environment(
                job,
                self._environment,
                self._workspace,
                step=stage.step,
                overrides=stage.environment,
            ),
            directory=directory,
            process_type=self._spec.process_type,
            terminal=self._spec.terminal,
            merge_stderr=self._spec.merge_stderr,
            keep_tree=stage.background,
            deadline=self._handle.deadline,
        )

    async def follow(self, process: Process) -> StageExit | None:
        """Reports on the command until the end of its tree; returns the end of the command.

        The end is None if the shim or the supervisor died, and the command with it. `exited` has it
        as soon as it is known.
        """
        clock, report = self._clock, self._handle.report
        tap = self._tap()
        batcher = Batcher(report, clock, self._room, step=self._stage.step, tap=tap)
        try:
            started_at = clock.now()
            await report(ProcessStarted(process.pid, started_at))
            if tap:
                await tap(b"")  # creates the stage's log file, which may stay empty
            async with asyncio.TaskGroup() as tasks:
                stopping = [tasks.create_task(self._stop(process))]
                if self._stage.timeout_seconds:
                    stopping.append(tasks.create_task(self._end_in_time(process)))
                output = tasks.create_task(batcher.pump(process))
                if self._stage.background:
                    stopping.append(ending := tasks.create_task(self._end_with_job(process)))
                end = await self._wait(process)
                ran = self._ran(end, started_at)
                self.exited.set_result(ran)
                if ran and self._stage.background:
                    await asyncio.wait([ending])
                await asyncio.wait([output])
                if tap and batcher.cut:
                    await tap(_CUT % batcher.cut)
                if ran and (
                    ran.why is not None or ran.overdue
                ):  # the rest of the tree has the same grace period
                    await process.terminate(self._spec.grace_seconds)
                for task in stopping:
                    task.cancel()
            await process.close()
            if ran:
                took = Millis(ran.ended_at - started_at)
                await report(ProcessEnded(process.pid, ran.exit.code, took))
        finally:
            await process.close()
        return ran

    def _ran(self, end: Exit | None, started_at: Instant) -> StageExit | None:
        """The end of the command, which is now, and the reasons for it."""
        if end is None:
            return None
        return StageExit(
            exit=end,
            why=self._stop_request.why,
            overdue=self._overdue,
            dismissed=self._dismissed,
            started_at=started_at,
            ended_at=self._clock.now(),
        )

    async def _wait(self, process: Process) -> Exit | None:
        """The command's end; None if its shim or the supervisor died, which counts as a failure."""
        try:
            return await process.wait()
        except ProcessLost as lost:
            self._log.error("process_lost", why=str(lost))
            return None

    async def _stop(self, process: Process) -> None:
        """Ends the tree when a stop of the attempt is requested."""
        await self._stop_request.asked()
        async with asyncio.TaskGroup() as tasks:
            killer = tasks.create_task(self._kill(process))
            await process.terminate(self._spec.grace_seconds)
            killer.cancel()

    async def _kill(self, process: Process) -> None:
        await self._stop_request.urgent()
        await process.terminate(0)

    async def _end_in_time(self, process: Process) -> None:
        """Ends the tree when the stage's timeout has passed."""
        await asyncio.sleep(self._stage.timeout_seconds)
        self._overdue = True
        await process.terminate(self._spec.grace_seconds)

    async def _end_with_job(self, process: Process) -> None:
        """Ends the tree of a background step when the job is over."""
        await self.job_over.wait()
        self._dismissed = not self.exited.done()
        await process.terminate(self._spec.grace_seconds)

    def _tap(self) -> Callable[[bytes], Awaitable[None]] | None:
        """The writer of the stage's log in the results folder, if there is one."""
        results = self._workspace.results
        return partial(results.write, self._stage.step or 0) if results else None
