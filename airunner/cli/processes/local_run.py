"""A job's life without a server: a keeper, one attempt, until its end or a signal.

It is the attempt that a worker makes (worker/attempt/execution.py), with what it says shown here instead of sent.
The first SIGINT or SIGTERM, or the end of our terminal, cancels the job, with its grace; the second
kills it.
"""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from airunner.cli.exit_codes import CommandFailed, exit_code
from airunner.cli.render.streams import note
from airunner.cli.render.times import ending
from airunner.cli.render.views import Passing, passing
from airunner.model.job_events import Ended, Entry, Happening
from airunner.model.jobs import BEGINNING, Instant, Job, JobState, Outcome, Reason, Sequence
from airunner.model.reports import Report, width
from airunner.model.spec import JobSpec
from airunner.server.ids import RandomIds
from airunner.worker.attempt.execution import Run
from airunner.worker.attempt.local import Rehearsal
from airunner.worker.attempt.runtime import Place
from airunner.worker.attempt.stop import Why
from airunner.worker.clock import Clock, LoopClock
from airunner.worker.supervisor.supervisor import Keeper
from airunner.worker.workspace.folders import Folders

_ATTEMPT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Where a job is run without a server."""

    keeper: Keeper
    workspaces: Path  # workspaces are made below it
    keep_workspace: bool
    sources: Path  # the root of sources
    results: Path
    group_markers: bool
    log: FilteringBoundLogger


class _Listener:
    """What is said of the attempt, shown as a server's events are."""

    def __init__(self, shown: Passing, clock: Clock) -> None:
        self._shown = shown
        self._clock = clock
        self._last = 0

    async def report(self, report: Report) -> None:
        await self._show(report, width(report))

    async def end(self, outcome: Outcome) -> None:
        await self._show(Ended(outcome.state, outcome), 1)

    async def _show(self, what: Happening, sequences: int) -> None:
        first, self._last = self._last + 1, self._last + sequences
        await self._shown(
            Entry(
                first=Sequence(first),
                last=Sequence(self._last),
                at=self._clock.now(),
                attempt=_ATTEMPT,
                what=what,
            )
        )


async def rehearse(spec: JobSpec, room: Room) -> int:
    """Run the job; the exit code that stands for its end. Closes the keeper."""
    clock = LoopClock(Instant(time.time_ns() // 1_000_000))
    folders = Folders(
        room.workspaces,
        room.keeper,
        clock,
        environment=dict(os.environ),
        log=room.log,
        keep=room.keep_workspace,
        allow_local=True,
        sources=room.sources,
        results=room.results.absolute(),
    )
    try:
        folders.check()
    except OSError as error:
        await room.keeper.close()
        raise CommandFailed(
            f"cannot make a workspace in {room.workspaces}: {error.strerror}: name another folder "
            "with --workspaces-dir"
        ) from None
    shown = passing(
        until_closed=False, total=partial(_count_steps, spec), group_markers=room.group_markers
    )
    listener = _Listener(shown, clock)
    hold = Rehearsal(_job(spec, clock.now()), listener.report)
    run = Run(hold, Place(launcher=room.keeper, workspaces=folders, clock=clock, log=room.log))
    _obey_signals(hold)
    try:
        async with asyncio.TaskGroup() as tasks:
            sweep = tasks.create_task(folders.sweep())
            await run.play()
            sweep.cancel()
    finally:
        folders.close()
        await room.keeper.close()
    if run.keeper_lost:
        raise CommandFailed(str(run.keeper_lost))
    if not isinstance(hold.verdict, Outcome):
        raise CommandFailed("the job was lost: what held its processes was killed")
    await listener.end(hold.verdict)
    _tell(hold.verdict, shown, room.results)
    for kept in room.workspaces.glob(f"{hold.job.id}.*") if room.keep_workspace else ():
        shown.remark(f"the workspace is kept: {kept}")
    return exit_code(hold.verdict.state, hold.verdict)


def _job(spec: JobSpec, now: Instant) -> Job:
    return Job(
        id=RandomIds().job(),
        spec=spec,
        place=BEGINNING,
        created_at=now,
        updated_at=now,
        leased_at=now,
        state=JobState.RUNNING,
        attempt=_ATTEMPT,
    )


async def _count_steps(spec: JobSpec) -> int | None:
    return None if spec.steps is None else len(spec.steps)


def _obey_signals(hold: Rehearsal) -> None:
    def obey() -> None:
        again = hold.halt.why is Why.CANCEL
        if not again:
            note("cancelling the job, and waiting for its end; a second time kills it")
        hold.halt.ask(Why.CANCEL, at_once=again)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as by nohup
            asyncio.get_running_loop().add_signal_handler(number, obey)


def _tell(outcome: Outcome, shown: Passing, results: Path) -> None:
    """Say what nobody has said so far."""
    if outcome.state is not JobState.COMPLETED and outcome.reason is not Reason.EXITED:
        shown.remark(f"the job {ending(outcome.state, outcome, shown.told)}")
    if (results / "result.json").exists():
        shown.remark(f"results are in {results}")
