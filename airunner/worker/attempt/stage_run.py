"""The run of one stage: its command, from the launch to the end of the process tree.

Rules

1. When a stop of the attempt is requested, or the stage's timeout has passed, the tree gets
   SIGTERM, the job's grace period, and SIGKILL.
2. The run ends when no process of the tree is left and its whole output is reported.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from airunner.model.jobs import Millis
from airunner.model.reports import ProcessEnded, ProcessStarted
from airunner.worker.attempt.batcher import Batcher
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
        self, stage: Stage, handle: AttemptHandle, workspace: Workspace, runtime: Runtime
    ) -> None:
        self._stage = stage
        self._handle = handle
        self._spec = handle.job.spec
        self._stop_request = handle.stop
        self._workspace = workspace
        self._launcher = runtime.launcher
        self._environment = runtime.environment
        self._clock = runtime.clock
        self._log = runtime.log
        self._overdue = False

    async def launch(self) -> Process:
        """Starts the command. Raises SetupFailed or LaunchError."""
        stage = self._stage
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
            deadline=self._handle.deadline,
        )

    async def follow(self, process: Process, room: int) -> tuple[StageExit | None, int]:
        """Reports on the command until the end of its tree; returns its end and the rest of `room`.

        `room` is the number of output bytes that may still be kept. The end is None if the shim or
        the supervisor died, and the command with it.
        """
        clock, report = self._clock, self._handle.report
        tap = self._tap()
        batcher = Batcher(report, clock, room, step=self._stage.step, tap=tap)
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
                end = await self._wait(process)
                why, overdue, ended_at = self._stop_request.why, self._overdue, clock.now()
                await asyncio.wait([output])
                if tap and batcher.cut:
                    await tap(_CUT % batcher.cut)
                if why is not None or overdue:  # the rest of the tree has the same grace period
                    await process.terminate(self._spec.grace_seconds)
                for task in stopping:
                    task.cancel()
            await process.close()
            if end is None:
                return None, batcher.room
            await report(ProcessEnded(process.pid, end.code, Millis(ended_at - started_at)))
        finally:
            await process.close()
        ran = StageExit(
            exit=end, why=why, overdue=overdue, started_at=started_at, ended_at=ended_at
        )
        return ran, batcher.room

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

    def _tap(self) -> Callable[[bytes], Awaitable[None]] | None:
        """The writer of the stage's log in the results folder, if there is one."""
        results = self._workspace.results
        return partial(results.write, self._stage.step or 0) if results else None
