"""Runs the simulation of a seed and judges its records."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from selectors import SelectorKey, SelectSelector

from tests.simulation.checker import complaints
from tests.simulation.observations import Testimony
from tests.simulation.world import World, numbered_tasks
from tests.support.loop import VirtualLoop

Tell = Callable[[float, str], None]


class _Nothing(SelectSelector):
    """A selector that makes no system call, since a simulation has no I/O."""

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        return []


@dataclass(frozen=True, slots=True)
class Verdict:
    seed: int
    jobs: int
    processes: int
    complaints: tuple[str, ...]

    @property
    def counts(self) -> str:
        return f"{self.jobs} jobs, {self.processes} processes"


def simulate(seed: int, tell: Tell | None = None, world: type[World] = World) -> Testimony:
    """Runs the simulation of a seed; returns its records. `tell` receives the events as text."""

    async def main() -> Testimony:
        asyncio.get_running_loop().set_task_factory(numbered_tasks())
        return await world(seed, tell).run()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(_Nothing())) as runner:
        return runner.run(main())


def judge(seed: int, tell: Tell | None = None, world: type[World] = World) -> Verdict:
    """Runs and checks a seed; an exception of the server, a worker or the world is a complaint."""
    try:
        seen = simulate(seed, tell, world)
    except Exception as error:  # every exception is a result of the seed
        return Verdict(seed, 0, 0, tuple(_causes(error)))
    jobs = len(seen.lists[-1].jobs) if seen.lists else 0
    return Verdict(seed, jobs, len(seen.performances), tuple(complaints(seen)))


def _causes(error: BaseException) -> list[str]:
    """The messages and places of an exception and of its group's members."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for each in error.exceptions for cause in _causes(each)]
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "?"
    return [f"{type(error).__name__} at {where}: {error}"[:400]]
