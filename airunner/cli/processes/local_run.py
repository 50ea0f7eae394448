"""Runs a job without a server: a supervisor and a single attempt, until its end or a signal.

The attempt is the same as in a worker (worker/attempt/execution.py); its reports are printed instead
of sent to a server. The first SIGINT, SIGTERM or SIGHUP cancels the job, with its grace period; the
second kills it.
"""

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from airunner.cli.exit_codes import CommandFailed, exit_code
from airunner.cli.processes.signals import on_stop_signals
from airunner.cli.render.outcomes import outcome_phrase
from airunner.cli.render.streams import note
from airunner.cli.render.views import PassThrough, pass_through
from airunner.model.job_events import JobEvent, JobEventBody, JobFinished
from airunner.model.jobs import BEGINNING, Instant, Job, JobState, Outcome, Reason, Sequence
from airunner.model.reports import Report, count_sequences
from airunner.model.spec import JobSpec
from airunner.server.ids import RandomIds
from airunner.system.clock import Clock
from airunner.worker.attempt.execution import Execution
from airunner.worker.attempt.local_attempt import LocalAttempt
from airunner.worker.attempt.stop import StopReason
from airunner.worker.host_runtime import WorkspaceOptions, WorkspacesUnusable, open_runtime
from airunner.worker.supervisor.supervisor import Supervisor

_ATTEMPT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSetup:
    """The folders and the supervisor of a run without a server."""

    supervisor: Supervisor
    workspaces: Path  # the folder for workspaces
    keep_workspace: bool
    sources: Path  # the root folder of sources
    results: Path
    group_markers: bool
    log: FilteringBoundLogger


class _Listener:
    """Prints the reports of an attempt as a client prints the events of a server."""

    def __init__(self, shown: PassThrough, clock: Clock) -> None:
        self._shown = shown
        self._clock = clock
        self._last = 0

    async def report(self, report: Report) -> None:
        await self._show(report, count_sequences(report))

    async def end(self, outcome: Outcome) -> None:
        await self._show(JobFinished(outcome.state, outcome), 1)

    async def _show(self, what: JobEventBody, sequences: int) -> None:
        first, self._last = self._last + 1, self._last + sequences
        await self._shown.show(
            JobEvent(
                first=Sequence(first),
                last=Sequence(self._last),
                at=self._clock.now(),
                attempt=_ATTEMPT,
                body=what,
            )
        )


async def run_locally(spec: JobSpec, setup: LocalSetup) -> int:
    """Runs the job, and returns the exit code for its outcome. Closes the supervisor."""
    workspaces = WorkspaceOptions(
        folder=setup.workspaces,
        keep=setup.keep_workspace,
        allow_local_repositories=True,
        sources=setup.sources,
        results=setup.results.absolute(),
    )
    try:
        async with open_runtime(
            setup.supervisor, workspaces, environment=os.environ, log=setup.log
        ) as runtime:
            shown = pass_through(
                until_closed=False,
                count_steps=partial(_count_steps, spec),
                group_markers=setup.group_markers,
            )
            listener = _Listener(shown, runtime.clock)
            attempt = LocalAttempt(_job(spec, runtime.clock.now()), listener.report)
            run = Execution(attempt, runtime)
            _obey_signals(attempt)
            async with asyncio.TaskGroup() as tasks:
                sweep = tasks.create_task(runtime.workspaces.sweep())
                await run.run()
                sweep.cancel()
    except WorkspacesUnusable as error:
        raise CommandFailed(f"{error}: name another folder with --workspaces-dir") from None
    if run.supervisor_lost:
        raise CommandFailed(str(run.supervisor_lost))
    if run.no_room:
        raise CommandFailed(f"{run.no_room}: free space there, or name another folder")
    if not isinstance(attempt.verdict, Outcome):
        raise CommandFailed("the job was lost: the supervisor of its processes was killed")
    await listener.end(attempt.verdict)
    _tell(attempt.verdict, shown, setup.results)
    for kept in setup.workspaces.glob(f"{attempt.job.id}.*") if setup.keep_workspace else ():
        shown.remark(f"the workspace is kept: {kept}")
    return exit_code(attempt.verdict.state, attempt.verdict)


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


def _obey_signals(attempt: LocalAttempt) -> None:
    def cancel() -> None:
        note("cancelling the job, and waiting for its end; a second signal kills it")
        attempt.stop.ask(StopReason.CANCEL)

    def kill() -> None:
        attempt.stop.ask(StopReason.CANCEL, at_once=True)

    on_stop_signals(cancel, kill, hangup=True)


def _tell(outcome: Outcome, shown: PassThrough, results: Path) -> None:
    """Prints the outcome, unless it is an exit code, and the place of the results."""
    if outcome.state is not JobState.COMPLETED and outcome.reason is not Reason.EXITED:
        shown.remark(f"the job {outcome_phrase(outcome.state, outcome, shown.last_error)}")
    if (results / "result.json").exists():
        shown.remark(f"results are in {results}")
