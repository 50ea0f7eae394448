"""The engine with a memory log, in this process: a server without network, loop and clock."""

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
# The number of jobs is the same before and after the life of a job: 100 finished jobs stay.
STEADY: Final = Retention(jobs_max=10**9, finished_max=100, spared=Millis(0))
NOW: Final = Instant(1)
YIELD_JOBS: Final = 1_000  # jobs that are enqueued before other tasks may run


class Core:
    """The engine's verbs for a job's life. A verb returns when its facts are applied and logged."""

    def __init__(self, spec: JobSpec) -> None:
        self._request = JobRequest(spec=spec)
        self._engine = Engine(STEADY)
        self._log = MemoryLog()
        self._ids = RandomIds()

    async def fill(self, count: int) -> None:
        """Enqueues `count` jobs."""
        for number in range(count):
            await self.enqueue()
            if number % YIELD_JOBS == 0:
                await asyncio.sleep(0)

    async def enqueue(self) -> None:
        """Enqueues a job."""
        await self._record(self._engine.queue.enqueue(self._ids.job(), self._request, NOW))

    async def lease(self) -> TaskToken:
        """Leases the first job of the queue; returns its token."""
        token, queues = self._ids.token(), [self._request.spec.queue_key]
        await self._record(
            self._engine.queue.lease(queues, token=digest(token), worker=WORKER, span=SPAN, now=NOW)
        )
        return token

    async def finish(self, token: TaskToken) -> None:
        """Ends a job; retention then removes the oldest of 101 finished jobs."""
        await self._record(self._engine.queue.finish(digest(token), OUTCOME))

    async def _record(self, facts: Sequence[Fact]) -> None:
        await self._log.append(self._engine.record(facts, NOW))


@contextmanager
def pauses() -> Iterator[list[float]]:
    """Collects the seconds of every garbage collection in this process, during the block."""
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
