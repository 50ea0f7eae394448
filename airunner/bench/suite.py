"""Every scenario there is, by name, in the order in which all of them run.

A scenario is a function whose docstring says what it measures and what it leaves out. It has
its baselines measured beside its figures, and leaves nothing behind.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final

from airunner.bench.backlog import backlog
from airunner.bench.dispatch import dispatch
from airunner.bench.enqueue import enqueue
from airunner.bench.fanout import fanout
from airunner.bench.figures import Figure
from airunner.bench.growth import growth
from airunner.bench.idle import idle
from airunner.bench.jobs import pty, true
from airunner.bench.lines import lines
from airunner.bench.listing import listing
from airunner.bench.memory import memory
from airunner.bench.noop import noop
from airunner.bench.output import log
from airunner.bench.replay import replay
from airunner.bench.restart import restart
from airunner.bench.results import results
from airunner.bench.setting import Setting
from airunner.bench.stage import stage
from airunner.bench.start import start

Scenario = Callable[[Setting], Awaitable[list[Figure]]]

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "enqueue": enqueue,
    "noop": noop,
    "true": true,
    "pty": pty,
    "dispatch": dispatch,
    "log": log,
    "lines": lines,
    "results": results,
    "stage": stage,
    "fanout": fanout,
    "backlog": backlog,
    "list": listing,
    "growth": growth,
    "idle": idle,
    "start": start,
    "replay": replay,
    "restart": restart,
    "memory": memory,
}


async def measure(
    setting: Setting, names: Iterable[str]
) -> AsyncIterator[tuple[str, list[Figure]]]:
    """The figures of each of these scenarios, as soon as they are known."""
    for name in names:
        yield name, await SCENARIOS[name](setting)


def summary(name: str) -> str:
    """The first sentence of what a scenario measures."""
    return (SCENARIOS[name].__doc__ or "").partition("\n")[0]
