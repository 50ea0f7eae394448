"""The background steps of an attempt, whose processes may live until the job ends.

Rules

1. The next step starts once the command of a background step has ended, or after
   BACKGROUND_START_SECONDS if it still runs. So `./server &` and `./server` both work, and a command
   that fails at its start fails the job as that of any step.
2. At the end of the job, after its last step, each background step gets SIGTERM, the grace period and
   SIGKILL. Such an end is a success.
3. A command that fails later than that has failed its step, but not the job: the steps that needed it
   decide. The same holds for a step with a bad file AIRUNNER_ENV at the start of the next step; later
   lines give no variables.
4. The death of the command's shim ends the attempt at once, as in any step.
5. A stop of the attempt ends background steps as it ends the others. A drain after the last step is
   too late to give the job back: the background steps that it ends have ended with the job, by rule 2.
"""

import asyncio
from dataclasses import replace

from airunner.model.jobs import Instant, Millis
from airunner.model.limits import BACKGROUND_START_SECONDS
from airunner.model.reports import StepEnded
from airunner.worker.attempt.handle import AttemptHandle
from airunner.worker.attempt.stage_results import StageExit, StageResults
from airunner.worker.attempt.stage_run import StageRun
from airunner.worker.attempt.stop import StopReason
from airunner.worker.process import Process


class BackgroundLost(Exception):
    """The shim of a background step or the supervisor died, and the command with it."""


class BackgroundSteps:
    """The background steps of one attempt that have started."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        handle: AttemptHandle,
        stage_results: StageResults,
    ) -> None:
        """`tasks` ends when every background step has. It raises BackgroundLost."""
        self._tasks = tasks
        self._handle = handle
        self._stage_results = stage_results
        self._runs: list[StageRun] = []
        self._job_over = asyncio.Event()
        self._given_back = False
        self._refusals: dict[StageRun, str] = {}

    async def start(self, stage_run: StageRun, process: Process, began: Instant) -> bool:
        """Follows a step in the background; returns whether its command goes on running."""
        self._runs.append(stage_run)
        running = asyncio.Event()
        self._tasks.create_task(self._follow(stage_run, process, running))
        await asyncio.wait([stage_run.exited], timeout=BACKGROUND_START_SECONDS)
        if stage_run.exited.done():
            return False
        running.set()
        self._stage_results.hold(stage_run.stage, began)
        return True

    def refuse(self, stage_run: StageRun, refusal: str) -> None:
        """Fails a step that runs on, for the variables that it gave."""
        self._refusals[stage_run] = refusal

    def end(self, *, given_back: bool) -> None:
        """Ends all of them, since the job is over; `given_back`: it returns to its place in line."""
        self._given_back = given_back
        self._job_over.set()
        for each in self._runs:
            each.job_over.set()

    async def _follow(self, stage_run: StageRun, process: Process, running: asyncio.Event) -> None:
        ran: StageExit | None = await stage_run.follow(process)
        if ran is None:
            if running.is_set():  # else the foreground sees it
                raise BackgroundLost
            return
        if ran.why is StopReason.DRAIN:
            await self._job_over.wait()
            ran = replace(ran, dismissed=True)
        if running.is_set() and not self._given_back:
            stage = stage_run.stage
            ran = replace(ran, refused=self._refusals.get(stage_run, ""))
            result = self._stage_results.settle(stage, ran)
            assert stage.step is not None
            took = Millis(ran.ended_at - ran.started_at)
            await self._handle.report(
                StepEnded(stage.step, stage.title, result.status, result.exit_code, took)
            )
