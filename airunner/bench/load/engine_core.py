"""The engine and the memory log alone: a server without its network, its loop and its clock."""

import asyncio
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from airunner.bench.load.noop_worker import OUTCOME, SPAN
from airunner.log.memory import MemoryLog
from airunner.model.facts import Fact
from airunner.model.jobs import Instant, JobRequest, Millis, TaskToken, WorkerId, digest
from airunner.model.spec import JobSpec
from airunner.server.ids import RandomIds
from airunner.store.engine import Engine
from airunner.store.retention import Retention

WORKER: Final = WorkerId("bench")
# So that there are as many jobs after the life of one as before it.
STEADY: Final = Retention(jobs_max=10**9, finished_max=100, spared=Millis(0))
NOW: Final = Instant(1)
BREATH: Final = 1_000  # jobs that are put in line without a look at what else there is to do


class Core:
    """The verbs of a job's life, each decided, applied and remembered when it returns."""

    def __init__(self, spec: JobSpec) -> None:
        self._wish = JobRequest(spec=spec)
        self._engine = Engine(STEADY)
        self._log = MemoryLog()
        self._ids = RandomIds()

    async def fill(self, count: int) -> None:
        """Put so many jobs in line."""
        for number in range(count):
            await self.enqueue()
            if number % BREATH == 0:
                await asyncio.sleep(0)

    async def enqueue(self) -> None:
        await self._record(self._engine.queue.enqueue(self._ids.job(), self._wish, NOW))

    async def lease(self) -> TaskToken:
        token, queues = self._ids.token(), [self._wish.spec.queue_key]
        await self._record(
            self._engine.queue.lease(queues, token=digest(token), worker=WORKER, span=SPAN, now=NOW)
        )
        return token

    async def finish(self, token: TaskToken) -> None:
        """End a job; the oldest of a hundred that have ended is forgotten."""
        await self._record(self._engine.queue.finish(digest(token), OUTCOME))

    async def _record(self, facts: Sequence[Fact]) -> None:
        await self._log.append(self._engine.record(facts, NOW))


@contextmanager
def pauses() -> Iterator[list[float]]:
    """The seconds of every search for garbage in this process, for the length of a block."""
    seconds, start = list[float](), 0.0

    def note(phase: str, _info: Mapping[str, int]) -> None:
        nonlocal start
        if phase == "start":
            start = perf_counter()
        else:
            seconds.append(perf_counter() - start)

    gc.callbacks.append(note)
    try:
        yield seconds
    finally:
        gc.callbacks.remove(note)
