"""Every scenario there is, by name, in the order in which all of them run.

A scenario is a function whose docstring says what it measures and what it leaves out. It has
its baselines measured beside its figures, and leaves nothing behind.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final

from airunner.bench.cases.backlog import backlog
from airunner.bench.cases.dispatch import dispatch
from airunner.bench.cases.enqueue import enqueue
from airunner.bench.cases.growth import growth
from airunner.bench.cases.idle import idle
from airunner.bench.cases.job_list import listing
from airunner.bench.cases.jobs import pty, true
from airunner.bench.cases.memory import memory
from airunner.bench.cases.noop import noop
from airunner.bench.cases.output.fanout import fanout
from airunner.bench.cases.output.lines import lines
from airunner.bench.cases.output.results_log import results
from airunner.bench.cases.output.single_log import log
from airunner.bench.cases.replay import replay
from airunner.bench.cases.restart import restart
from airunner.bench.cases.stage import stage
from airunner.bench.cases.start import start
from airunner.bench.report.figures import Figure
from airunner.bench.setting import Setting

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
