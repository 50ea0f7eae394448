"""Virtual time: an event loop with a clock that stops during work and jumps to the next timer."""

import asyncio
import functools
import heapq
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

P = ParamSpec("P")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time; a wait without a timer fails at once instead of hanging."""

    _now = 0.0
    _work_seconds = 0.0

    def time(self) -> float:
        self._now += self._work_seconds
        return self._now

    def _run_once(self) -> None:
        self._forget_cancelled()
        if not self._ready and not self._scheduled:  # type: ignore[attr-defined]  # private, as below
            raise AssertionError("everybody waits, and nothing will ever happen")
        if not self._ready:  # type: ignore[attr-defined]  # private, as below
            self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]  # private, and what a loop is
        super()._run_once()  # type: ignore[misc]  # private, as above

    def _forget_cancelled(self) -> None:
        """Removes cancelled timers, so that the clock jumps to the next live timer."""
        scheduled = self._scheduled  # type: ignore[attr-defined]  # private, as above
        while scheduled and scheduled[0].cancelled():
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]  # private, as above
            heapq.heappop(scheduled)._scheduled = False


def virtually(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Runs an async test in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())

    return run


@contextmanager
def work_takes(seconds: float) -> Iterator[None]:
    """Lets this much time pass between two looks at the clock, as on a slow machine."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop._work_seconds = seconds
    yield
    loop._work_seconds = 0.0


async def until_idle() -> None:
    """Runs all ready tasks until every task waits, without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)
