"""The pace at which recorded output is played again."""

from collections.abc import Callable
from dataclasses import dataclass, field

from airunner.model.jobs import Instant


@dataclass(slots=True)
class Pace:
    """How long to wait before each chunk: as long as it took then, within bounds.

    A pause is divided by `speed`, and then at most `max_idle` seconds long. Time is
    counted from when the last chunk was due and not from when it was printed, so
    that slow printing does not slow a playback down for good. Clocks of workers may
    step back between attempts; then there is no pause.
    """

    speed: float
    max_idle: float | None
    now: Callable[[], float]  # seconds, of any clock that never goes back
    _last: Instant | None = field(default=None, init=False)
    _due: float = field(default=0.0, init=False)

    def wait(self, at: Instant) -> float:
        """Seconds to wait before a chunk that was written at this instant."""
        if self._last is None:
            self._last, self._due = at, self.now()
            return 0.0
        pause = max(0, at - self._last) / 1000 / self.speed
        if self.max_idle is not None:
            pause = min(pause, self.max_idle)
        self._last = at
        self._due += pause
        return max(0.0, self._due - self.now())
