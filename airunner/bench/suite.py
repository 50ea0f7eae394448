"""The table of all scenarios by name, in the order in which a whole run measures them.

A scenario is a function. Its docstring describes the measurement and the costs that the
measurement leaves out. A scenario measures its baselines in the same rounds as its figures, and
leaves no file and no process behind.
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
    """Runs the named scenarios in turn; yields the figures of each scenario when it ends."""
    for name in names:
        yield name, await SCENARIOS[name](setting)


def summary(name: str) -> str:
    """The first line of a scenario's docstring, which describes the measurement."""
    return (SCENARIOS[name].__doc__ or "").partition("\n")[0]
