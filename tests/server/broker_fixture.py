"""A broker in virtual time, over logs that a test can slow down, hold up and break."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

from airunner.log.log import LogFull
from airunner.log.memory import MemoryLog
from airunner.model.facts import Event
from airunner.model.jobs import Instant, Job, JobId, JobRequest, Millis, Outcome, Reason, WorkerId
from airunner.model.reports import Chunk, Output, Stream
from airunner.model.spec import JobSpec
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.outbox import EventListener
from airunner.server.worker_calls import WorkerCalls
from airunner.server.workers.leased_job import LeasedJob
from airunner.store.engine import Engine
from airunner.store.retention import Retention
from airunner.system.clock import LoopClock
from tests.support.ids import CountingIds

MINUTE = Millis(60_000)
DONE = Outcome(reason=Reason.EXITED, exit_code=0)


class SlowLog(MemoryLog):
    """Takes its time, counts, waits at a gate, and breaks when told to."""

    def __init__(self, seconds: float = 0.01) -> None:
        super().__init__()
        self.seconds = seconds
        self.appends = 0
        self.reads = 0
        self.broken = False
        self.full = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, events: Sequence[Event]) -> None:
        await asyncio.sleep(self.seconds)
        await self.gate.wait()
        if self.broken:
            raise OSError("the disk is gone")
        if self.full:
            raise LogFull("there is no room on the disk")
        self.appends += 1
        await super().append(events)

    def read(
        self, id: JobId | None = None, after: int = 0, *, reported: bool = True
    ) -> AsyncGenerator[Event, None]:
        self.reads += 1
        return super().read(id, after, reported=reported)


def broker_over(
    log: MemoryLog,
    retention: Retention | None = None,
    listeners: tuple[EventListener, ...] = (),
    engine: Engine | None = None,
    room: Callable[[], None] = lambda: None,
) -> Broker:
    return Broker(
        engine or Engine(retention),
        log,
        clock=LoopClock(epoch=Instant(0), floor=engine.now if engine else None),
        ids=CountingIds(),
        listeners=listeners,
        room=room,
    )


@asynccontextmanager
async def served(
    retention: Retention | None = None,
    listeners: tuple[EventListener, ...] = (),
    seconds: float = 0.01,
    room: Callable[[], None] = lambda: None,
) -> AsyncIterator[tuple[Broker, SlowLog]]:
    """A running broker and its log, stopped at the end of the block."""
    log = SlowLog(seconds)
    broker = broker_over(log, retention, listeners, room=room)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(broker.run())
        yield broker, log
        log.gate.set()
        broker.stop()


def wish(queue: str = "default", attempts: int = 3, wait: int = 0) -> JobRequest:
    spec = JobSpec(command="true", queue=queue, attempts_max=attempts, queue_timeout_seconds=wait)
    return JobRequest(spec=spec)


async def lease(
    broker: Broker, worker: str = "ann", *queues: str, seconds: float | None = None, most: int = 1
) -> list[LeasedJob]:
    return await WorkerCalls(broker).lease(
        queues or ("default",), worker=WorkerId(worker), span=MINUTE, most=most, wait=seconds
    )


async def leased(broker: Broker, worker: str = "ann", *queues: str) -> LeasedJob:
    """One job, waited for."""
    (granted,) = await lease(broker, worker, *queues)
    return granted


def output(*texts: str) -> Output:
    return Output(tuple(Chunk(Stream.STDOUT, text.encode(), Instant(0)) for text in texts))


async def seen(
    broker: Broker, job: Job, after: int = 0, *, stop_at_tail: bool = False
) -> list[str]:
    """What a watcher sees: the fact's name and the sequences of each event."""
    async with aclosing(
        ClientCalls(broker).watch(job.id, after=after, stop_at_tail=stop_at_tail)
    ) as events:
        return [told(event) async for event in events]


def told(event: Event) -> str:
    numbers = f"{event.first}" if event.first == event.last else f"{event.first}-{event.last}"
    return f"{type(event.fact).__name__} {numbers}"


def seconds_gone() -> float:
    return round(asyncio.get_running_loop().time(), 6)
