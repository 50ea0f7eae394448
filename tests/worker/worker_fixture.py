"""A worker in virtual time, at the real server's broker, over a network that breaks on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from random import Random

import structlog
from structlog.typing import EventDict

from airunner.model.errors import Refused
from airunner.model.facts import Reported
from airunner.model.jobs import Instant, Job, JobId, JobRequest, Millis, Outcome, Subject
from airunner.model.limits import SETUP_TIMEOUT_SECONDS
from airunner.model.protocol.channel import ChannelClosed
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.model.reports import Output, Report
from airunner.model.spec import JobSpec
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.workers.worker_session import Session
from airunner.store.retention import Retention
from airunner.system.clock import LoopClock
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.worker import Worker, WorkerOptions
from tests.server.broker_fixture import SlowLog, served
from tests.support.channel import End, channel_pair
from tests.support.fake_commands import Rooms, Script, Stage
from tests.support.loop import until_idle
from tests.support.memory_spools import MemoryDisk, MemoryDiskSpools

SUE = Subject("sue")
Message = FromServer | FromWorker


class Tapped(End[FromServer, FromWorker]):
    """The server's end of a stream; it breaks at the message that the test selects."""

    def __init__(self, end: End[FromServer, FromWorker], worker_fixture: "WorkerFixture") -> None:
        super().__init__(end.outgoing, end.incoming)
        self._fixture = worker_fixture

    async def send(self, message: FromServer) -> None:
        self._watch(message)
        await super().send(message)

    async def receive(self) -> FromWorker:
        while self._fixture.deaf:
            await self._fixture.hearing.wait()
        message = await super().receive()
        self._watch(message)
        return message

    def _watch(self, message: Message) -> None:
        self._fixture.said.append(message)
        if self._fixture.breaks and self._fixture.breaks(message):
            self._fixture.breaks = None
            self.cut()
            raise ChannelClosed("cut")


class WorkerFixture:
    """A broker, a launcher of fake commands, and the workers of a test."""

    def __init__(self, broker: Broker, log: SlowLog, tasks: asyncio.TaskGroup) -> None:
        self.broker, self.log, self.tasks = broker, log, tasks
        self.stage, self.rooms = Stage(tasks), Rooms()
        self.said: list[Message] = []  # all messages, in the server's order
        self.breaks: Callable[[Message], bool] | None = (
            None  # selects the message that breaks the stream
        )
        self.refuses: Refused | None = None
        self.setup_seconds: float = SETUP_TIMEOUT_SECONDS  # of the workers that are made next
        self.away = False  # the server cannot be reached
        self.deaf = False  # the server does not read
        self.hearing = asyncio.Event()
        self.streams: list[Tapped] = []
        self.connects = 0
        self.journal: list[EventDict] = []
        self.disk = MemoryDisk()  # shared by all workers

    # The worker's side

    def worker(self, **options: object) -> Worker:
        chosen = replace(WorkerOptions(name="ann", slots=2), **options)  # type: ignore[arg-type]  # a test's
        log = structlog.wrap_logger(None, processors=[self._note])
        place = Runtime(
            launcher=self.stage,
            workspaces=self.rooms,
            clock=LoopClock(epoch=Instant(0)),
            log=log,
            spools=MemoryDiskSpools(self.disk),
            setup_seconds=self.setup_seconds,
        )
        return Worker(chosen, self.connect, place, Random(1))

    def _note(self, logger: object, method: str, event: EventDict) -> str:
        self.journal.append(event)
        raise structlog.DropEvent

    async def connect(self) -> End[FromWorker, FromServer]:
        self.connects += 1
        if self.away:
            raise ChannelClosed("nobody is there")
        mine: End[FromWorker, FromServer]
        theirs: End[FromServer, FromWorker]
        mine, theirs = channel_pair(8)
        if self.refuses:
            theirs.refuse(self.refuses)
            return mine
        stream = Tapped(theirs, self)
        self.streams.append(stream)
        self.tasks.create_task(self._serve(stream))
        return mine

    async def _serve(self, stream: Tapped) -> None:
        with suppress(Refused):
            await Session(self.broker, stream, version="1").run()

    def cut(self) -> None:
        """Break every stream."""
        for stream in self.streams:
            stream.cut()

    def logged(self, event: str) -> list[EventDict]:
        return [each for each in self.journal if each["event"] == event]

    # The submitter's side

    def script(self, name: str, script: Script) -> None:
        self.stage.scripts[name] = script

    async def submit(self, command: str, **fields: object) -> JobId:
        spec = JobSpec(command=command, **fields)  # type: ignore[arg-type]  # a test's
        return (await ClientCalls(self.broker).enqueue(JobRequest(spec=spec, submitter=SUE))).id

    async def ended(self, id: JobId) -> Job:
        """The job, after its end."""
        async for _ in ClientCalls(self.broker).watch(id):
            pass
        return await ClientCalls(self.broker).get(id)

    async def outcome(self, id: JobId) -> Outcome:
        outcome = (await self.ended(id)).outcome
        assert outcome
        return outcome

    async def reports(self, id: JobId) -> list[Report]:
        """The job's reports so far."""
        events = ClientCalls(self.broker).watch(id, stop_at_tail=True)
        return [e.fact.report async for e in events if isinstance(e.fact, Reported)]

    async def output(self, id: JobId) -> bytes:
        outputs = [each for each in await self.reports(id) if isinstance(each, Output)]
        return b"".join(chunk.data for each in outputs for chunk in each.chunks)

    async def stored(self, id: JobId) -> bytes:
        """The output in the log, which may be unable to take more."""
        outputs = [
            event.fact.report
            async for event in self.log.read(id)
            if isinstance(event.fact, Reported) and isinstance(event.fact.report, Output)
        ]
        return b"".join(chunk.data for each in outputs for chunk in each.chunks)

    async def until(self, happened: Callable[[], object]) -> None:
        """Lets virtual time pass until the condition holds."""
        for _ in range(100_000):
            if happened():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never happened")


@asynccontextmanager
async def worker_fixture(
    retention: Retention | None = None, room: Callable[[], None] = lambda: None
) -> AsyncIterator[WorkerFixture]:
    """A fixture for the length of a block; `room` is the broker's check for free space."""
    serving = served(retention, seconds=0.001, room=room)
    async with serving as (broker, log), asyncio.TaskGroup() as tasks:
        it = WorkerFixture(broker, log, tasks)
        yield it
        await it.stage.close()
        log.gate.set()
        broker.stop()


@asynccontextmanager
async def working(it: WorkerFixture, **options: object) -> AsyncIterator[Worker]:
    """A worker for the length of a block; it must not end before, and drains afterwards."""
    worker = it.worker(**options)
    running = it.tasks.create_task(worker.run())
    await until_idle()
    yield worker
    worker.drain()
    await running
    assert not it.stage.alive
    assert not it.rooms.open


def span(seconds: float) -> Millis:
    return Millis(round(seconds * 1000))
