"""A queue that is up: its worker, who puts jobs in line, and the marks that its jobs leave."""

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
from airunner.bench.comparison.processes import ROOT, Leashed, Missing, leashed
from airunner.bench.comparison.queues import Queue
from airunner.bench.report.figures import Sample

SETTLE_SECONDS: Final = 0.1  # for a worker to acknowledge its last jobs, before it is stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Jobs that are in line, at these times of day."""

    start: float  # before the first call
    end: float  # after the last
    ended: float | None = None  # of the last job's end, if who put them in line knows


class Producer:
    """The process that puts jobs in line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ready(self) -> None:
        await self._answer()

    async def send(self, kind: str, count: int) -> Sent:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"kind": kind, "count": count}).encode() + b"\n")
        return Sent(**await self._answer())

    async def _answer(self) -> Mapping[str, float]:
        assert self._process.stdout
        line = await self._process.stdout.readline()
        if not line:
            raise Missing("who puts its jobs in line has ended")
        answer: Mapping[str, float] = json.loads(line)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One that is measured."""

    name: str
    producer: Producer
    worker: Leashed
    marks: Marks
    sleeps: bool = True  # stopped while others are measured, so that it takes nothing from them
    knows_ends: bool = False  # its producer says when the last job has ended
    rates: dict[str, float] = field(default_factory=dict)  # jobs a second, lately, by measure
    put_in_line: deque[Sample] = field(default_factory=deque)  # round by round

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
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
        """Put jobs in line, and wait until all have run; when the last one had."""
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self.producer.send(kind, count))
                times = await self.marks.read(count, self._alive)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return sending.result(), times[-1]

    async def run_later(self, kind: str, count: int) -> tuple[Sent, float]:
        """Put jobs in line while the worker is stopped, and then let it; how long that took."""
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
            raise Missing(f"{self.name}: its worker has ended: {self.worker.last_words()}")


@asynccontextmanager
async def party(queue: Queue, url: str, python: Path, folder: Path) -> AsyncIterator[Load]:
    """A queue with its worker, which has run a job, and sleeps now."""
    folder.mkdir()
    async with AsyncExitStack() as stack:
        marks = stack.enter_context(closing(Marks(folder / "marks")))
        environment = {**os.environ, "BENCH_BROKER": url, "BENCH_MARKS": str(marks.path)}
        produce = (str(python), "-m", "airunner.bench.comparison.peers.produce", queue.peer)
        producer = await stack.enter_async_context(producing(produce, folder, environment))
        work = (str(python), *(word.format(broker=url) for word in queue.worker))
        worker = await stack.enter_async_context(leashed("worker", work, folder, environment))
        made = Load(name=queue.name, producer=producer, worker=worker, marks=marks)
        async with made.awake():
            await made.run("nothing", 1)
        yield made


@asynccontextmanager
async def producing(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Producer]:
    """A process that puts jobs in line until the block ends."""
    with (folder / "producer.log").open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=ROOT,
            env=dict(environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
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
