"""The set-up of a comparison run: airunner and the other queues, all running at once."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from airunner.bench.comparison.brokers import BROKERS, Url
from airunner.bench.comparison.load import Load, peer_load, producing
from airunner.bench.comparison.marks import Marks
from airunner.bench.comparison.processes import Missing, managed_process
from airunner.bench.comparison.queues import NAMES, Queue
from airunner.bench.load.processes import server, worker
from airunner.bench.setting import MEMORY, Setting, Store

BATCH: Final = 100  # of airunner's jobs, in one EnqueueJobs
NOT_THERE: Final = "not installed in {python}: make bench-peers installs it"


@dataclass(slots=True)
class Setup:
    """The running loads by name, and the reasons for missing queues by name."""

    loads: dict[str, Load] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def airunner_name(store: Store, *, one_by_one: bool = False) -> str:
    """The name of airunner's load with a store, in tables."""
    kind = "memory" if store is MEMORY else f"SQLite, fsync {store.fsync}"
    return f"airunner, {kind}" + (", one by one" if one_by_one else "")


async def open_setup(
    stack: AsyncExitStack, setting: Setting, queues: Sequence[Queue], python: Path
) -> Setup:
    """Starts airunner and every queue that is installed, one after the other."""
    setup = Setup()
    for store in (MEMORY, setting.sqlite("peers")):
        for each in await _airunner_loads(stack, setting, store):
            setup.loads[each.name] = each
    installed = {package: await _installed(python, package) for package in NAMES}
    urls = dict[str, Url | Missing]()
    for number, queue in enumerate(queues):
        try:
            if not installed[queue.package]:
                raise Missing(NOT_THERE.format(python=python))
            if queue.broker not in urls:
                folder = setting.folder / queue.broker
                urls[queue.broker] = await _broker(stack, folder, queue.broker)
            url = urls[queue.broker]
            if isinstance(url, Missing):
                raise url
            opening = peer_load(queue, url(number), python, setting.folder / f"peer-{number}")
            setup.loads[queue.name] = await stack.enter_async_context(opening)
        except (Missing, TimeoutError) as reason:
            setup.missing[queue.name] = str(reason)
    return setup


async def _broker(stack: AsyncExitStack, folder: Path, name: str) -> Url | Missing:
    try:
        return await stack.enter_async_context(BROKERS[name](folder))
    except Missing as reason:
        return reason


async def _installed(python: Path, package: str) -> bool:
    """True if the Python interpreter can import the package."""
    try:
        importing = await asyncio.create_subprocess_exec(
            str(python), "-c", f"import {package}", stderr=subprocess.DEVNULL
        )
    except OSError:
        return False
    return await importing.wait() == 0


async def _airunner_loads(stack: AsyncExitStack, setting: Setting, store: Store) -> list[Load]:
    """airunner's loads: a server, a real worker and a no-op worker, with two batch sizes."""
    folder = setting.folder / f"airunner-{store.fsync or store.name}"
    folder.mkdir()
    served = await stack.enter_async_context(server(setting, store))
    await stack.enter_async_context(worker(setting, served.address))
    marks = stack.enter_context(closing(Marks(folder / "marks")))
    python = (sys.executable, "-m", "airunner.bench.comparison.airunner_roles")
    arguments = (served.address, str(setting.certs / "ca.pem"), str(marks.path))
    noop_worker = await stack.enter_async_context(
        managed_process("worker", (*python, "work", *arguments), folder, setting.environment)
    )
    loads = []
    for size in (BATCH, 1):
        producer = await stack.enter_async_context(
            producing((*python, "produce", *arguments, str(size)), folder, setting.environment)
        )
        load = Load(
            name=airunner_name(store, one_by_one=size == 1),
            producer=producer,
            worker=noop_worker,
            marks=marks,
            knows_ends=True,
            sleeps=False,  # a stopped worker loses its leases; an idle worker costs nothing
        )
        await load.run("nothing", 1)
        loads.append(load)
    return loads
