"""How long to wait before trying a server again.

Full jitter: a time between nothing and a bound that doubles with each failure. When a server
comes back, a thousand workers that lost it in the same moment do not return in the same
moment. The bound stays within a tenth of the visibility timeout, so that a worker has many tries
before its leases lapse.
"""

from random import Random
from typing import Final

FIRST_SECONDS: Final = 0.25  # the bound of the first wait


class Backoff:
    """The waits between tries; `most` seconds bounds each."""

    def __init__(self, dice: Random, most: float) -> None:
        self._dice = dice
        self._most = most
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        bound = min(self._most, FIRST_SECONDS * 2 ** min(self._failures, 32))
        self._failures += 1
        return self._dice.uniform(0, bound)

    def reset(self) -> None:
        """It has worked."""
        self._failures = 0
