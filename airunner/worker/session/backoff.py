"""The waits between attempts to reach a server.

Full jitter: a time between nothing and a bound that doubles with each failure. When a server
comes back, a thousand workers that lost it in the same moment do not return in the same
moment. The bound stays within a tenth of the visibility timeout, so that a worker has many
attempts before its leases lapse.
"""

from random import Random
from typing import Final

FIRST_SECONDS: Final = 0.25  # bound of the first wait


class Backoff:
    """The waits after consecutive failures; `most` seconds bounds each."""

    def __init__(self, dice: Random, most: float, failures: int = 0) -> None:
        """`failures` is the number of failures so far."""
        self._dice = dice
        self._most = most
        self._failures = failures

    def next(self) -> float:
        """Counts one more failure; returns the seconds to wait."""
        bound = min(self._most, FIRST_SECONDS * 2 ** min(self._failures, 32))
        self._failures += 1
        return self._dice.uniform(0, bound)

    def reset(self) -> None:
        """Starts again at the first bound, after a success."""
        self._failures = 0
