"""A worker: one session with a server, and the attempts that it runs.

    run() --- idle_exit, drain() ---> leaving ---> dismissed, no job runs ---> returns
                                         |
                              kill() or drain_timeout: running attempts stop
    run() --- jobs_max jobs are over ---> returns

A leaving worker asks for no more jobs and lets running jobs end for `drain_timeout`. Then it stops
them, SIGTERM first, and gives them back without a counted failure. kill() stops them by SIGKILL,
gives back as many as it can in KILL_SECONDS_MAX, and returns from run().

A worker with `jobs_max` asks for no more jobs than that, so no job is leased only to be given back.
Each leased job counts, even a job that was lost or given back, except a job given back because the
disk had no room: a worker for a single job would otherwise end, start again and take that job anew.

The worker looks at its disk before it asks for its first jobs, and after each job.

The worker's id is new in each process: its last part is random. So a worker that restarts under
the same name cannot renew the leases of the dead process.
"""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Final

from airunner.model.errors import Refused, Unreachable
from airunner.model.jobs import AttemptEnd, Millis, Outcome, Reason
from airunner.model.limits import WORKER_VISIBILITY_SECONDS_DEFAULT
from airunner.model.protocol.features import Feature
from airunner.model.protocol.incarnation import SECRET_BYTES, worker_id
from airunner.model.protocol.worker_protocol import Hello
from airunner.model.spec import DEFAULT_QUEUE
from airunner.worker.attempt.execution import Execution
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.attempt.stop import StopReason
from airunner.worker.process import SUPERVISOR_GONE, SupervisorLost, SupervisorStatistics
from airunner.worker.session.held_lease import HeldLease
from airunner.worker.session.session import Connect, WorkerSession
from airunner.worker.session.statistics import SessionStatistics
from airunner.worker.spool.spools import SpoolStatistics
from airunner.worker.workspace.workspace import NoRoom

ROOM_SECONDS: Final = 2.0  # between two looks at a disk that was full
KILL_SECONDS_MAX: Final = 3  # time to give jobs back after kill()
DRAIN_SECONDS_DEFAULT: Final = 60.0
SPAN_DEFAULT: Final = Millis(WORKER_VISIBILITY_SECONDS_DEFAULT * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of `airunner worker`."""

    name: str
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)  # in order of preference
    slots: int = 1  # concurrent jobs
    span: Millis = SPAN_DEFAULT  # the visibility timeout
    jobs_max: int | None = None  # jobs after which the worker ends; None: no limit
    idle_exit: float | None = None  # seconds without a job, then the worker leaves; None: never
    drain_timeout: float = DRAIN_SECONDS_DEFAULT  # seconds for running jobs while draining


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatistics:
    """Plain numbers about a worker and its parts, for metrics."""

    jobs_running: int  # attempts, from the lease to its end
    jobs_over: int  # since the worker's start
    attempts_crashed: int  # ended by a defect of airunner's own
    session: SessionStatistics
    spools: SpoolStatistics
    supervisor: SupervisorStatistics


class Worker:
    """One process's worker; created and used within one event loop."""

    def __init__(
        self, options: WorkerOptions, connect: Connect, runtime: Runtime, dice: Random
    ) -> None:
        self._options = options
        self._runtime = runtime
        self._log = runtime.log
        self._slots = options.slots
        if options.jobs_max is not None:
            self._slots = min(options.slots, options.jobs_max)
        self._asked = 0  # jobs that the server was ever asked for
        self._over = 0  # jobs that have ended
        self._without_room = 0  # of these, given back because the disk had no room
        self._crashed = 0  # attempts that a defect has ended
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()  # run() may have to return
        secret = dice.randbytes(SECRET_BYTES)
        self.id = worker_id(options.name, secret)
        self._session = WorkerSession(
            connect,
            Hello(
                worker=self.id,
                name=options.name,
                queues=options.queues,
                span=options.span,
                slots=self._slots,
                credit=0,
                secret=secret,
                features=tuple(Feature),
            ),
            dice=dice,
            on_lease=self._start,
            on_change=self._changed.set,
            log=runtime.log,
            spools=runtime.spools,
        )
        self._tasks: asyncio.TaskGroup | None = None
        self._jobs: dict[HeldLease, asyncio.Task[None]] = {}
        self._outcome: Outcome | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._withheld = 0  # credit for jobs, until the disk has room
        self._full = asyncio.Event()
        self._leaving = False
        self._abandoned = False  # run() returns at once, without giving back the rest
        self._failure: Refused | SupervisorLost | None = None  # why the worker cannot go on
        self.may_start_again = False  # it ended for the loss of its supervisor alone

    async def run(self) -> Outcome | None:
        """Runs jobs until the worker leaves; returns the last job's outcome if `jobs_max` is set.

        A last job that was lost or given back has an Outcome with Reason.LOST. Raises Refused if
        the server refuses this worker, Unreachable if `idle_exit` passed and no server ever
        answered, and SupervisorLost if the supervisor has ended and no command can start any more.
        """
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for _ in range(self._slots):
                self._ask_when_room(None)
            session = tasks.create_task(self._run_session())
            sweep = tasks.create_task(self._sweep())
            watch = tasks.create_task(self._watch_launcher())
            room = tasks.create_task(self._wait_for_room())
            self._start_idle_timer()
            while not self._is_over():
                self._changed.clear()
                await self._changed.wait()
            self._stop_idle_timer()
            for job in self._jobs.values():
                job.cancel()
            session.cancel()
            sweep.cancel()
            watch.cancel()
            room.cancel()
        self._runtime.workspaces.close()
        self._runtime.spools.close()
        self._log.info("stopped", worker=self.id)
        if self._failure:
            raise self._failure
        return self._outcome

    def drain(self) -> None:
        """Takes no more jobs; run() returns when all have ended, `drain_timeout` being the limit."""
        self.may_start_again = False
        if not self._leaving:
            self._leaving = True
            self._log.info("draining", running=len(self._jobs))
            self._stop_idle_timer()
            self._session.leave()
            self._loop.call_later(self._options.drain_timeout, self._stop_jobs, False)
            self._changed.set()

    def kill(self) -> None:
        """Kills running jobs and gives them back; run() returns within KILL_SECONDS_MAX."""
        self.drain()
        self._stop_jobs(True)
        self._loop.call_later(KILL_SECONDS_MAX, self._abandon)

    def statistics(self) -> WorkerStatistics:
        """The present numbers of the worker, its session, spools and supervisor."""
        return WorkerStatistics(
            jobs_running=len(self._jobs),
            jobs_over=self._over,
            attempts_crashed=self._crashed,
            session=self._session.statistics(),
            spools=self._runtime.spools.statistics(),
            supervisor=self._runtime.launcher.statistics(),
        )

    async def _run_session(self) -> None:
        try:
            await self._session.run()
        except Refused as refusal:
            self._failure = refusal
            self._abandon()

    async def _watch_launcher(self) -> None:
        """Ends the worker when its supervisor has ended, also while no job runs."""
        await self._runtime.launcher.ended()
        self._lose_launcher(SupervisorLost(SUPERVISOR_GONE))

    def _lose_launcher(self, lost: SupervisorLost) -> None:
        if not self._failure:
            self._failure = lost
            may_start_again = not self._leaving and self._options.jobs_max is None
            self._log.error("keeper_lost", why=str(lost))
            self.kill()
            self.may_start_again = may_start_again

    async def _sweep(self) -> None:
        """Removes the workspaces of dead workers; what they hold must not end this worker."""
        try:
            await self._runtime.workspaces.sweep()
        except Exception as defect:
            self._log.error("sweep_failed", why=str(defect), exc_info=defect)

    # Jobs

    def _start(self, held_lease: HeldLease) -> None:
        assert self._tasks
        self._stop_idle_timer()
        self._jobs[held_lease] = self._tasks.create_task(self._run_job(held_lease))

    async def _run_job(self, held_lease: HeldLease) -> None:
        execution = Execution(held_lease, self._runtime)
        try:
            await execution.run()
            self._crashed += execution.crashed
            if execution.supervisor_lost:
                self._lose_launcher(execution.supervisor_lost)
            self._without_room += bool(execution.no_room)
            self._ask_when_room(execution.no_room)
            settled = await held_lease.over()
            self._log_end(held_lease, settled, counts=not execution.no_room)
        finally:
            del self._jobs[held_lease]
        self._over += 1
        self._start_idle_timer()
        self._changed.set()

    def _ask_when_room(self, no_room: NoRoom | None) -> None:
        """Asks for another job, or withholds the request while the disk is full."""
        if no_room or not self._runtime.workspaces.has_room():
            if not self._withheld:
                self._log.error("disk_full", why=str(no_room or "too little room for a job"))
            self._withheld += 1
            self._full.set()
        else:
            self._ask_for_another()

    async def _wait_for_room(self) -> None:
        """Asks for the withheld jobs as soon as the disk has room again."""
        while await self._full.wait():
            await asyncio.sleep(ROOM_SECONDS)
            if self._runtime.workspaces.has_room():
                self._log.info("disk_has_room")
                self._full.clear()
                withheld, self._withheld = self._withheld, 0
                for _ in range(withheld):
                    self._ask_for_another()

    def _ask_for_another(self) -> None:
        jobs_max = self._options.jobs_max
        if jobs_max is None or self._asked - self._without_room < jobs_max:
            self._asked += 1
            self._session.add_credit()

    def _log_end(self, held_lease: HeldLease, settled: bool, *, counts: bool) -> None:
        """Logs the end of a job; the session has logged the loss of a lease already."""
        job, verdict = held_lease.job, held_lease.verdict
        outcome = verdict if settled and isinstance(verdict, Outcome) else None
        if outcome:
            self._log.info(
                "job_ended",
                job=job.id,
                attempt=job.attempt,
                reason=outcome.reason.value,
                exit_code=outcome.exit_code,
                signal=outcome.signal,
            )
        elif settled:
            lost = verdict is AttemptEnd.LOST
            self._log.info("job_given_back", job=job.id, attempt=job.attempt, lost=lost)
        if self._options.jobs_max is not None and counts:
            error = "its lease was lost, or it was given back"
            self._outcome = outcome or Outcome(reason=Reason.LOST, error=error)

    def _stop_jobs(self, at_once: bool) -> None:
        for held_lease in self._jobs:
            held_lease.stop.ask(StopReason.DRAIN, at_once=at_once)

    # The end

    def _is_over(self) -> bool:
        if self._abandoned:
            return True
        if self._jobs or self._session.holding:
            return False
        jobs_max = self._options.jobs_max
        if jobs_max is not None and self._over - self._without_room >= jobs_max:
            return True
        # Without a connection there is no server to inform, and every job is given back already.
        return self._leaving and (self._session.dismissed or not self._session.connected)

    def _abandon(self) -> None:
        self._abandoned = True
        self._changed.set()

    def _start_idle_timer(self) -> None:
        if self._options.idle_exit is not None and not self._jobs and not self._leaving:
            self._idle = self._loop.call_later(self._options.idle_exit, self._leave_idle)

    def _leave_idle(self) -> None:
        """Leaves for lack of jobs; that is a failure if no server has ever answered."""
        if not self._session.welcomed:
            self._failure = Unreachable(f"no server answered for {self._options.idle_exit:g} s")
        self.drain()

    def _stop_idle_timer(self) -> None:
        if self._idle:
            self._idle.cancel()
            self._idle = None
