"""One seed, from its beginning to a verdict."""

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
    """Nothing comes from outside of a simulation, so the system is not asked."""

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
    """What comes of a seed; `tell` is told its story."""

    async def main() -> Testimony:
        asyncio.get_running_loop().set_task_factory(numbered_tasks())
        return await world(seed, tell).run()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(_Nothing())) as runner:
        return runner.run(main())


def judge(seed: int, tell: Tell | None = None, world: type[World] = World) -> Verdict:
    """Whether every promise was kept; an error in the server, a worker or the world is none."""
    try:
        seen = simulate(seed, tell, world)
    except Exception as error:  # whatever it is, it is this seed's
        return Verdict(seed, 0, 0, tuple(_causes(error)))
    jobs = len(seen.lists[-1].jobs) if seen.lists else 0
    return Verdict(seed, jobs, len(seen.performances), tuple(complaints(seen)))


def _causes(error: BaseException) -> list[str]:
    """What went wrong, and where."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for each in error.exceptions for cause in _causes(each)]
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "?"
    return [f"{type(error).__name__} at {where}: {error}"[:400]]
