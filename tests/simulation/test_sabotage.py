"""The checker can fail: worlds with one broken promise each, and the check that detects it.

Each sabotage is a faulty part that replaces a part of the world. The named check must detect it in
one of a few seeds. All worlds run in virtual time.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from airunner.log.memory import MemoryLog
from airunner.model.artifacts import Artifact
from airunner.model.facts import Enqueued, Event
from airunner.model.job_events import JobEvent, job_event
from airunner.model.jobs import Instant, JobId, Position, RequestId, TaskToken
from airunner.model.jobs import Sequence as EventSequence
from airunner.model.protocol.worker_protocol import Assignment, Batch, Completion, GiveBack
from airunner.model.reports import Output, Report
from airunner.model.steps import StepStatus
from airunner.server.artifacts import ArtifactService
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.worker_calls import WorkerCalls
from airunner.server.workers.worker_session import Session
from airunner.system.clock import LoopClock
from airunner.wire.client.jobs_client import EventBatch
from airunner.worker.process import Command
from airunner.worker.spool.spool import Spool
from tests.simulation.commands import Performance, Player, Theatre
from tests.simulation.disk import Disk, DiskLog
from tests.simulation.hosts import ServerLife, WorkEnd
from tests.simulation.run import judge
from tests.simulation.spools import MortalSpool, MortalSpools
from tests.simulation.world import World

SEEDS = 40  # a sabotage must be detected in one of them


class ForgetfulLog(DiskLog):
    """Loses some answered appends in a crash."""

    async def die(self) -> None:
        if not self._dead:
            disk = self._disk
            events = disk.events[: max(0, len(disk.events) - disk.dice.randint(1, 8))]
            disk.events, disk.jobs = [], MemoryLog()
            await disk.keep(events)
        await super().die()


class HastyLog(DiskLog):
    """Answers appends and shows their events before it has written them."""

    async def append(self, events: Sequence[Event]) -> None:
        await asyncio.sleep(self._disk.pause())
        if not self._dead:
            await self._disk.jobs.append(events)
            asyncio.get_running_loop().call_later(0.5, self._write, tuple(events))

    async def die(self) -> None:
        if not self._dead:
            self._disk.jobs = MemoryLog()
            await self._disk.jobs.append(self._disk.events)
        await super().die()

    def _write(self, events: Sequence[Event]) -> None:
        if not self._dead:
            self._disk.events += events


class KeylessLog(DiskLog):
    """Loses the idempotency keys in a replay."""

    async def read(
        self, id: JobId | None = None, after: int = 0, *, reported: bool = True
    ) -> AsyncGenerator[Event, None]:
        async for event in super().read(id, after, reported=reported):
            if id is None and isinstance(event.fact, Enqueued):
                yield replace(event, fact=replace(event.fact, request=RequestId("")))
            else:
                yield event


class DoublingSession(Session):
    """Stores each batch twice."""

    def _settle(self, message: Batch | Completion | GiveBack) -> None:
        super()._settle(message)
        if isinstance(message, Batch):
            unnumbered = [(0, report) for report in message.reports]
            WorkerCalls(self._broker).publish_decided(message.token, unnumbered, gaps=True)


class MuddlingSession(Session):
    """Attributes the output of every step to the next step."""

    def _settle(self, message: Batch | Completion | GiveBack) -> None:
        if isinstance(message, Batch):
            reports = tuple(map(_of_the_next, message.reports))
            message = replace(message, reports=reports)
        super()._settle(message)


def _of_the_next(report: Report) -> Report:
    if isinstance(report, Output) and report.step is not None:
        return dataclasses.replace(report, step=report.step + 1)
    return report


class FlatteringSession(Session):
    """Reports success for every step."""

    def _settle(self, message: Batch | Completion | GiveBack) -> None:
        if isinstance(message, Completion):
            steps = (replace(each, status=StepStatus.SUCCESS) for each in message.outcome.steps)
            outcome = replace(message.outcome, steps=tuple(steps))
            message = replace(message, outcome=outcome)
        super()._settle(message)


def serving(make: type[Session]) -> type[ServerLife]:
    """A server with a faulty session class."""

    class Serving(ServerLife):
        def session(self, broker: Broker, end: WorkEnd) -> Session:
            return make(broker, end, version="1")

    return Serving


class BoastfulArchive(ArtifactService):
    """Acknowledges artifacts that it has not stored."""

    async def store(
        self,
        token: TaskToken,
        artifact: Artifact,
        data: AsyncIterator[bytes],
        *,
        holder: Hashable = None,
        again: bool = False,
    ) -> None:
        if artifact.size < 10_000:
            await super().store(token, artifact, data, holder=holder, again=again)


class BoastfulServer(ServerLife):
    make_archive = BoastfulArchive


class HoppingServer(ServerLife):
    """Skips a sequence when a watcher resumes."""

    async def watch(
        self, id: JobId, from_sequence: int, stop_at_tail: bool
    ) -> AsyncGenerator[JobEvent, None]:
        assert self.broker
        skip = from_sequence > 1
        events = ClientCalls(self.broker).watch(id, after=EventSequence(from_sequence - 1 + skip))
        async with aclosing(events):
            async for event in events:
                if told := job_event(event):
                    yield told


class DeafServer(ServerLife):
    """Begins one event too late when a follower of all jobs resumes."""

    async def watch_all(self, after: Position | None) -> AsyncGenerator[EventBatch, None]:
        back, behind = after is not None, 0
        async with aclosing(super().watch_all(after)) as told:
            async for heard in told:
                if back and heard.events:
                    back, behind = False, 1
                yield dataclasses.replace(heard, events=heard.events[behind:])
                behind = 0


class TimelessServer(ServerLife):
    """Uses the wall clock, even if it is behind the log's last time."""

    def clock(self, wall: Instant, floor: Instant) -> LoopClock:
        return LoopClock(epoch=wall)


class SleepyBroker(Broker):
    """Does not wake the next waiting worker."""

    async def run(self) -> None:
        self.idle.wake = lambda key, count=None: None  # type: ignore[method-assign]  # the sabotage
        await super().run()


class SleepyServer(ServerLife):
    make_broker = SleepyBroker


class Immortal(Player):
    """A process that survives its reported end."""

    async def terminate(self, grace: float) -> None:
        pass


class ImmortalTheatre(Theatre):
    def make(self, pid: int, command: Command, performance: Performance) -> Player:
        return Immortal(pid, command, performance)


class LeakySpool(MortalSpool):
    """Drops one message more than was acknowledged."""

    def forget(self, upto: int) -> None:
        super().forget(upto + 1)


class LeakySpools(MortalSpools):
    def wrap(self, assignment: Assignment, inner: Spool) -> Spool:
        return LeakySpool(self, assignment, inner)


def logging(log: type[DiskLog]) -> type[ServerLife]:
    """A server with a faulty log class."""

    class Logging(ServerLife):
        def open(self, disk: Disk) -> DiskLog:
            return log(disk)

    return Logging


def world(
    *,
    server: type[ServerLife] = ServerLife,
    theatre: type[Theatre] = Theatre,
    spools: type[MortalSpools] = MortalSpools,
) -> type[World]:
    class Sabotaged(World):
        server_life = server
        make_theatre = theatre
        make_spools = spools

    return Sabotaged


@pytest.mark.parametrize(
    ("sabotaged", "check"),
    [
        (world(server=logging(ForgetfulLog)), "acknowledged_jobs_exist"),
        (world(server=logging(ForgetfulLog)), "nothing_is_taken_back"),
        (world(server=logging(HastyLog)), "nothing_is_taken_back"),
        (world(server=logging(KeylessLog)), "a_key_makes_one_job"),
        (world(server=serving(DoublingSession)), "output_is_what_was_written"),
        (world(server=serving(MuddlingSession)), "steps_follow_each_other"),
        (world(server=serving(FlatteringSession)), "outcomes_agree_with_their_steps"),
        (world(server=BoastfulServer), "what_was_kept_is_there"),
        (world(server=HoppingServer), "every_sequence_is_seen_once"),
        (world(server=DeafServer), "every_sequence_is_seen_once"),
        (world(server=TimelessServer), "time_goes_forward"),
        (world(server=SleepyServer), "nobody_idles_while_there_is_work"),
        (world(theatre=ImmortalTheatre), "no_process_outlives_its_attempt"),
        (world(spools=LeakySpools), "output_is_what_was_written"),
    ],
)
def test_a_sabotage_is_caught(sabotaged: type[World], check: str) -> None:
    for seed in range(SEEDS):
        if any(each.startswith(f"{check}:") for each in judge(seed, world=sabotaged).complaints):
            return
    raise AssertionError(f"{check} noticed nothing in {SEEDS} seeds")
