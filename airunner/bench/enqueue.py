"""The scenario `enqueue`: jobs that clients put in line, one in a call."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.baselines import callers, echo_channels, echoes
from airunner.bench.commits import BareTable, row_bytes, transactions
from airunner.bench.figures import Bar, Figure, Sample, rate
from airunner.bench.processes import Served, server
from airunner.bench.procfs import busy_seconds
from airunner.bench.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting, Store
from airunner.facts import Enqueued
from airunner.jobs import Instant, JobId, RequestId, Subject
from airunner.log.rows import fact_row
from airunner.spec import JobSpec
from airunner.store.engine import Engine
from airunner.wire.client import JobsClient

SPEC: Final = JobSpec(command="make", args=("test",), queue="bench-enqueue")
MANY: Final = 64  # clients, at which there is a bar
DURABLE_BAR: Final = Bar(0.7)  # of the memory log, with that many


async def enqueue(setting: Setting) -> list[Figure]:
    """Jobs that clients put in line, one in a call, each durable before it is answered.

    Every client has a connection of its own to a real server and waits for each answer; all of
    them are in one process, whose cost is in every number. Beside them: bare TLS
    echoes; the memory log; and transactions of bare SQLite, as large as they really were and
    with the same fsync. Leaves out keys, tokens, workers and lines shorter than the queue grows.
    """
    async with AsyncExitStack() as stack:
        channels = await stack.enter_async_context(echo_channels(setting, max(setting.clients)))
        memory = await _party(stack, setting, MEMORY)
        durable = [
            await _party(stack, setting, setting.sqlite("enqueue", fsync))
            for fsync in setting.fsyncs
        ]
        contenders: list[Contender] = []
        for count in setting.clients:
            bare = echoes(channels[:count])
            volatile = _memory(memory, count, against=bare.name)
            contenders += [bare, volatile]
            for party in durable:
                contenders += _durable(party, count, against=volatile.name)
        return await compare(
            "enqueue",
            contenders,
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("enqueue"),
        )


@dataclass(slots=True)
class Party:
    """A server, clients of it, and how many rows each of its transactions had lately."""

    store: Store
    served: Served
    clients: Sequence[JobsClient]
    bare: BareTable | None
    rows: dict[int, float] = field(default_factory=dict)  # by number of clients

    async def enqueue(self, count: int, seconds: float) -> Sample:
        """Let so many of the clients enqueue."""
        before = self._transactions()
        sample = await _enqueues(self.clients[:count], self.served.pid, seconds)
        if self.store.path:
            self.rows[count] = sample.count / max(1, self._transactions() - before)
        return sample

    async def commit(self, count: int, seconds: float) -> Sample:
        """Let bare SQLite commit as many rows at a time."""
        assert self.bare
        return await asyncio.to_thread(
            self.bare.commit, seconds, batch=self.rows[count], size=_row_bytes()
        )

    def _transactions(self) -> int:
        return transactions(self.store.path) if self.store.path else 0


def _row_bytes() -> int:
    """What the row of such a job holds."""
    id = JobId("019a9d5e-7a5c-7000-8000-000000000000")
    fact = Enqueued(id, SPEC, RequestId(""), Subject("bench"), None)
    return row_bytes(fact_row(Engine().record([fact], Instant(1))[0]))


async def _party(stack: AsyncExitStack, setting: Setting, store: Store) -> Party:
    served = await stack.enter_async_context(server(setting, store))
    clients = [
        await stack.enter_async_context(setting.client(served.address))
        for _ in range(max(setting.clients))
    ]
    bare = None
    if store.path:
        bare = BareTable(setting.folder / f"bare-{store.fsync}.db", fsync=store.fsync)
        stack.callback(bare.close)
    return Party(store, served, clients, bare)


def _memory(party: Party, count: int, *, against: str) -> Contender:
    return Contender(
        name=f"memory, {callers(count)}",
        unit="jobs/s",
        run=partial(party.enqueue, count),
        against={against: None},
    )


def _durable(party: Party, count: int, *, against: str) -> list[Contender]:
    bare = Contender(
        name=f"bare group commit, {party.store.fsync}, {callers(count)}",
        unit="rows/s",
        run=partial(party.commit, count),
        baseline=True,
    )
    durable = Contender(
        name=f"{party.store.name}, {callers(count)}",
        unit="jobs/s",
        run=partial(party.enqueue, count),
        against={against: DURABLE_BAR if count == MANY else None, bare.name: None},
    )
    # In this order: the first run of the durable one says how large the bare transactions are.
    return [durable, bare]


async def _enqueues(clients: Sequence[JobsClient], server: int, seconds: float) -> Sample:
    times, start, busy = list[float](), perf_counter(), busy_seconds(server)

    async def call(client: JobsClient) -> None:
        while (now := perf_counter()) < start + seconds:
            await client.enqueue(SPEC)
            times.append(perf_counter() - now)

    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(call(client))
    elapsed = perf_counter() - start
    return rate(len(times), elapsed, times=times, busy=busy_seconds(server) - busy)
