"""Virtual time: an event loop whose clock stands still while there is work, and jumps when not."""

import asyncio
import functools
import heapq
from collections.abc import Awaitable, Callable
from typing import ParamSpec

P = ParamSpec("P")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Hours pass in milliseconds; a test that waits for what never comes fails at once."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        self._forget_cancelled()
        if not self._ready and not self._scheduled:  # type: ignore[attr-defined]  # private, as below
            raise AssertionError("everybody waits, and nothing will ever happen")
        if not self._ready:  # type: ignore[attr-defined]  # private, as below
            self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]  # private, and what a loop is
        super()._run_once()  # type: ignore[misc]  # private, as above

    def _forget_cancelled(self) -> None:
        """Let the clock jump to the next timer that counts, so that nobody really waits for it."""
        scheduled = self._scheduled  # type: ignore[attr-defined]  # private, as above
        while scheduled and scheduled[0].cancelled():
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]  # private, as above
            heapq.heappop(scheduled)._scheduled = False


def virtually(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())

    return run


async def until_idle() -> None:
    """Let everybody who can go on do so, without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)
