"""Everything that one run measures, up at once: the queues, airunner, and bare baselines."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from airunner.bench.comparison.brokers import BROKERS, Url
from airunner.bench.comparison.load import Load, party, producing
from airunner.bench.comparison.marks import Marks
from airunner.bench.comparison.processes import Missing, leashed
from airunner.bench.comparison.queues import NAMES, Queue
from airunner.bench.load.processes import server, worker
from airunner.bench.setting import MEMORY, Setting, Store

BATCH: Final = 100  # of airunner's jobs, in one EnqueueJobs
NOT_THERE: Final = "not installed in {python}: make bench-peers installs it"


@dataclass(slots=True)
class Setup:
    """Who is there, by name, and who is not, with the reason."""

    parties: dict[str, Load] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def ours(store: Store, *, one_by_one: bool = False) -> str:
    """The name of airunner with this store."""
    kind = "memory" if store is MEMORY else f"SQLite, fsync {store.fsync}"
    return f"airunner, {kind}" + (", one by one" if one_by_one else "")


async def open_site(
    stack: AsyncExitStack, setting: Setting, queues: Sequence[Queue], python: Path
) -> Setup:
    """Start everybody who can be started, one after the other."""
    site = Setup()
    for store in (MEMORY, setting.sqlite("peers")):
        for each in await _ours(stack, setting, store):
            site.parties[each.name] = each
    installed = {package: await _installed(python, package) for package in NAMES}
    urls = dict[str, Url | Missing]()
    for number, queue in enumerate(queues):
        try:
            if not installed[queue.package]:
                raise Missing(NOT_THERE.format(python=python))
            if queue.broker not in urls:
                place = setting.folder / queue.broker
                urls[queue.broker] = await _broker(stack, place, queue.broker)
            url = urls[queue.broker]
            if isinstance(url, Missing):
                raise url
            opening = party(queue, url(number), python, setting.folder / f"party-{number}")
            site.parties[queue.name] = await stack.enter_async_context(opening)
        except (Missing, TimeoutError) as reason:
            site.missing[queue.name] = str(reason)
    return site


async def _broker(stack: AsyncExitStack, folder: Path, name: str) -> Url | Missing:
    try:
        return await stack.enter_async_context(BROKERS[name](folder))
    except Missing as reason:
        return reason


async def _installed(python: Path, package: str) -> bool:
    """Whether that Python can import it."""
    try:
        importing = await asyncio.create_subprocess_exec(
            str(python), "-c", f"import {package}", stderr=subprocess.DEVNULL
        )
    except OSError:
        return False
    return await importing.wait() == 0


async def _ours(stack: AsyncExitStack, setting: Setting, store: Store) -> list[Load]:
    """airunner: one server, a real worker, one that runs nothing, and two ways to put in line."""
    folder = setting.folder / f"airunner-{store.fsync or store.name}"
    folder.mkdir()
    served = await stack.enter_async_context(server(setting, store))
    await stack.enter_async_context(worker(setting, served.address))
    marks = stack.enter_context(closing(Marks(folder / "marks")))
    python = (sys.executable, "-m", "airunner.bench.comparison.ours")
    where = (served.address, str(setting.certs / "ca.pem"), str(marks.path))
    nobody = await stack.enter_async_context(
        leashed("worker", (*python, "work", *where), folder, setting.environment)
    )
    parties = []
    for size in (BATCH, 1):
        producer = await stack.enter_async_context(
            producing((*python, "produce", *where, str(size)), folder, setting.environment)
        )
        made = Load(
            name=ours(store, one_by_one=size == 1),
            producer=producer,
            worker=nobody,
            marks=marks,
            knows_ends=True,
            sleeps=False,  # it would lose its lease, and does nothing when it has nothing to do
        )
        await made.run("nothing", 1)
        parties.append(made)
    return parties
