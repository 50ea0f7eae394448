"""A running queue under measurement: its producer, its worker, and the marks of its jobs."""

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Final

from airunner.bench.comparison.marks import Marks
from airunner.bench.comparison.processes import ROOT, ManagedProcess, Missing, managed_process
from airunner.bench.comparison.queues import Queue
from airunner.bench.report.figures import Sample

SETTLE_SECONDS: Final = 0.1  # for a worker to acknowledge its last jobs, before it is stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The times of day of an order of jobs, as seconds."""

    start: float  # before the first call
    end: float  # after the last call
    ended: float | None = None  # the last job's end, if the producer knows


class Producer:
    """The process that enqueues jobs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ready(self) -> None:
        """Waits for the process's first line."""
        await self._answer()

    async def send(self, kind: str, count: int) -> Sent:
        """Has the process enqueue `count` jobs. Raises Missing if the process has ended."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"kind": kind, "count": count}).encode() + b"\n")
        return Sent(**await self._answer())

    async def _answer(self) -> Mapping[str, float]:
        assert self._process.stdout
        line = await self._process.stdout.readline()
        if not line:
            raise Missing("its producer has ended")
        answer: Mapping[str, float] = json.loads(line)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A queue with its producer and worker; airunner or a peer."""

    name: str
    producer: Producer
    worker: ManagedProcess
    marks: Marks
    sleeps: bool = True  # its worker is stopped while other loads are measured
    knows_ends: bool = False  # its producer reports the end of the last job
    rates: dict[str, float] = field(default_factory=dict)  # latest jobs a second, by measure
    enqueue_rates: deque[Sample] = field(default_factory=deque)  # a sample for each round

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        """Lets the worker run for the length of the block."""
        if not self.sleeps:
            yield
            return
        self.worker.resume()
        try:
            yield
            await asyncio.sleep(SETTLE_SECONDS)
        finally:
            self.worker.pause()

    async def run(self, kind: str, count: int) -> tuple[Sent, float]:
        """Enqueues jobs and waits until all have run; returns the time of the last mark."""
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self.producer.send(kind, count))
                times = await self.marks.read(count, self._alive)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return sending.result(), times[-1]

    async def run_later(self, kind: str, count: int) -> tuple[Sent, float]:
        """Enqueues jobs while the worker is stopped; returns the worker's seconds for them."""
        self.worker.pause()
        try:
            sent = await self.producer.send(kind, count)
        finally:
            start = time()
            self.worker.resume()
        times = await self.marks.read(count, self._alive)
        return sent, times[-1] - start

    def _alive(self) -> None:
        if self.worker.ended:
            raise Missing(f"{self.name}: its worker has ended: {self.worker.last_line()}")


@asynccontextmanager
async def peer_load(queue: Queue, url: str, python: Path, folder: Path) -> AsyncIterator[Load]:
    """Starts a peer's producer and worker, and runs a job; the worker is stopped afterwards."""
    folder.mkdir()
    async with AsyncExitStack() as stack:
        marks = stack.enter_context(closing(Marks(folder / "marks")))
        environment = {**os.environ, "BENCH_BROKER": url, "BENCH_MARKS": str(marks.path)}
        produce = (str(python), "-m", "airunner.bench.comparison.peers.produce", queue.peer)
        producer = await stack.enter_async_context(producing(produce, folder, environment))
        work = (str(python), *(word.format(broker=url) for word in queue.worker))
        worker = await stack.enter_async_context(
            managed_process("worker", work, folder, environment)
        )
        load = Load(name=queue.name, producer=producer, worker=worker, marks=marks)
        async with load.awake():
            await load.run("nothing", 1)
        yield load


@asynccontextmanager
async def producing(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Producer]:
    """Runs a producer process for the length of the block."""
    with (folder / "producer.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=ROOT,
            env=dict(environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is for the run, which ends it
        )
    assert process.stdin
    try:
        producer = Producer(process)
        await producer.ready()
        yield producer
    finally:
        process.stdin.close()
        await process.wait()
