"""One worker: a session with a server, and the attempts that it runs.

    run() --- idle_exit, drain() ---> leaving ---> dismissed, nothing runs ---> returns
                                         |
                              kill() or drain_timeout: running attempts stop
    run() --- jobs_max jobs are over ---> returns

A worker that leaves asks for no more jobs, lets the running ones end for `drain_timeout`, then
stops them, SIGTERM first, and gives them back: no failure is counted. kill() stops them
by SIGKILL, gives back what it can in KILL_SECONDS_MAX, and goes.

A worker that runs `jobs_max` jobs has asked for no more than these, so that none is leased
just to be given back. Each that it took counts, however that ended.

A worker is an incarnation: its id has a random end, new in each process. A worker that is
restarted under the same name cannot keep a dead one's jobs alive.
"""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Final

from airunner.model.errors import Refused, Unreachable
from airunner.model.jobs import AttemptEnd, Millis, Outcome, Reason, WorkerId
from airunner.model.limits import WORKER_VISIBILITY_SECONDS_DEFAULT
from airunner.model.protocol.worker_protocol import Hello
from airunner.model.spec import DEFAULT_QUEUE
from airunner.worker.attempt.execution import Execution
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.attempt.stop import StopReason
from airunner.worker.process import SupervisorLost
from airunner.worker.session.held_lease import HeldLease
from airunner.worker.session.session import Connect, WorkerSession

KILL_SECONDS_MAX: Final = 3  # time to give jobs back after kill()
DRAIN_SECONDS_DEFAULT: Final = 60.0
SPAN_DEFAULT: Final = Millis(WORKER_VISIBILITY_SECONDS_DEFAULT * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What an operator chooses."""

    name: str
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)  # in order of preference
    slots: int = 1  # jobs at once
    span: Millis = SPAN_DEFAULT  # the visibility timeout
    jobs_max: int | None = None  # so many jobs, then the end; None: no end
    idle_exit: float | None = None  # seconds without a job after which to leave; None: never
    drain_timeout: float = DRAIN_SECONDS_DEFAULT  # seconds that running jobs have when draining


class Worker:
    """Made and used within one event loop."""

    def __init__(
        self, options: WorkerOptions, connect: Connect, runtime: Runtime, dice: Random
    ) -> None:
        self._options = options
        self._runtime = runtime
        self._log = runtime.log
        self._asked = options.slots  # how many jobs the server was ever asked for
        if options.jobs_max is not None:
            self._asked = min(options.slots, options.jobs_max)
        self._over = 0  # of them
        self._loop = asyncio.get_running_loop()
        self.id = WorkerId(f"{options.name}.{dice.getrandbits(64):016x}")
        self._client = WorkerSession(
            connect,
            Hello(
                worker=self.id,
                name=options.name,
                queues=options.queues,
                span=options.span,
                slots=self._asked,
                credit=0,
            ),
            dice=dice,
            take=self._take,
            news=self._look,
            log=runtime.log,
            spools=runtime.spools,
        )
        self._tasks: asyncio.TaskGroup | None = None
        self._jobs: dict[HeldLease, asyncio.Task[None]] = {}
        self._outcome: Outcome | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._leaving = False
        self._abandoned = False  # no more waiting, not even for giving back
        self._failure: Refused | SupervisorLost | None = None  # why no worker can be of use here
        self._news = asyncio.Event()

    async def run(self) -> Outcome | None:
        """Work until told to leave; with `jobs_max`, how the last of those jobs ended, else None.

        Such a job that was lost or given back is an Outcome of Reason.LOST. Raises Refused if the
        server will not have this worker, Unreachable if it left idle without ever having found
        one, KeeperLost if it can run nothing any more.
        """
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            session = tasks.create_task(self._converse())
            sweep = tasks.create_task(self._runtime.workspaces.sweep())
            self._count_idle()
            while not self._is_over():
                self._news.clear()
                await self._news.wait()
            self._stop_counting()
            for job in self._jobs.values():
                job.cancel()
            session.cancel()
            sweep.cancel()
        self._runtime.workspaces.close()
        self._runtime.spools.close()
        self._log.info("stopped", worker=self.id)
        if self._failure:
            raise self._failure
        return self._outcome

    def drain(self) -> None:
        """Take no more jobs, give running ones `drain_timeout` to end, and return from run()."""
        if not self._leaving:
            self._leaving = True
            self._log.info("draining", running=len(self._jobs))
            self._stop_counting()
            self._client.leave()
            self._loop.call_later(self._options.drain_timeout, self._stop_jobs, False)
            self._look()

    def kill(self) -> None:
        """Kill what runs, give back what can be, and return from run() soon."""
        self.drain()
        self._stop_jobs(True)
        self._loop.call_later(KILL_SECONDS_MAX, self._abandon)

    async def _converse(self) -> None:
        try:
            await self._client.run()
        except Refused as refusal:
            self._failure = refusal
            self._abandon()

    # Jobs

    def _take(self, held_lease: HeldLease) -> None:
        assert self._tasks
        self._stop_counting()
        self._jobs[held_lease] = self._tasks.create_task(self._work(held_lease))

    async def _work(self, held_lease: HeldLease) -> None:
        execution = Execution(held_lease, self._runtime)
        try:
            await execution.run()
            if execution.supervisor_lost:
                self._failure = execution.supervisor_lost
                self._log.error("keeper_lost", why=str(execution.supervisor_lost))
                self.kill()
            self._ask_for_another()
            heard = await held_lease.over()
            self._tell(held_lease, heard)
        finally:
            del self._jobs[held_lease]
        self._over += 1
        self._count_idle()
        self._look()

    def _ask_for_another(self) -> None:
        if self._options.jobs_max is None or self._asked < self._options.jobs_max:
            self._asked += 1
            self._client.grant()

    def _tell(self, held_lease: HeldLease, heard: bool) -> None:
        """Say how it ended; the session has said so if the lease was lost."""
        job, verdict = held_lease.job, held_lease.verdict
        outcome = verdict if heard and isinstance(verdict, Outcome) else None
        if outcome:
            self._log.info(
                "job_ended",
                job=job.id,
                attempt=job.attempt,
                reason=outcome.reason.value,
                exit_code=outcome.exit_code,
                signal=outcome.signal,
            )
        elif heard:
            lost = verdict is AttemptEnd.LOST
            self._log.info("job_given_back", job=job.id, attempt=job.attempt, lost=lost)
        if self._options.jobs_max is not None:
            error = "its lease was lost, or it was given back"
            self._outcome = outcome or Outcome(reason=Reason.LOST, error=error)

    def _stop_jobs(self, at_once: bool) -> None:
        for held_lease in self._jobs:
            held_lease.stop.ask(StopReason.DRAIN, at_once=at_once)

    # The end

    def _is_over(self) -> bool:
        if self._abandoned:
            return True
        if self._jobs or self._client.holding:
            return False
        if self._options.jobs_max is not None and self._over >= self._options.jobs_max:
            return True
        # Without a connection there is nobody to tell, and nothing that is not given back already.
        return self._leaving and (self._client.dismissed or not self._client.connected)

    def _look(self) -> None:
        self._news.set()

    def _abandon(self) -> None:
        self._abandoned = True
        self._look()

    def _count_idle(self) -> None:
        if self._options.idle_exit is not None and not self._jobs and not self._leaving:
            self._idle = self._loop.call_later(self._options.idle_exit, self._leave_idle)

    def _leave_idle(self) -> None:
        """Nothing to do; unless no server has ever said so, which is a failure."""
        if not self._client.welcomed:
            self._failure = Unreachable(f"no server answered for {self._options.idle_exit:g} s")
        self.drain()

    def _stop_counting(self) -> None:
        if self._idle:
            self._idle.cancel()
            self._idle = None
