"""The pauses of `airunner monitor --playback`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from airunner.model.jobs import Instant


@dataclass(slots=True)
class Pace:
    """The pause before each chunk of output, taken from the times at which chunks were written.

    A pause is divided by `speed`, then limited to `max_idle` seconds. A pause starts when the
    previous chunk was due, not when it was printed, so slow printing does not delay the rest of
    the playback. If the workers' clocks step back between attempts, there is no pause.
    """

    speed: float
    max_idle: float | None
    now: Callable[[], float]  # seconds, by a monotonic clock
    _last: Instant | None = field(default=None, init=False)
    _due: float = field(default=0.0, init=False)

    def wait(self, at: Instant) -> float:
        """The seconds to wait before printing a chunk that was written at `at`."""
        if self._last is None:
            self._last, self._due = at, self.now()
            return 0.0
        pause = max(0, at - self._last) / 1000 / self.speed
        if self.max_idle is not None:
            pause = min(pause, self.max_idle)
        self._last = at
        self._due += pause
        return max(0.0, self._due - self.now())
