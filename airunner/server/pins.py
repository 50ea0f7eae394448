"""Pins on jobs: retention removes no job while it is pinned."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airunner.model.jobs import JobId


class Pins:
    """Counts the pins of each job in `counts`, which the engine's retention reads.

    `left` is called when a job loses its last pin, since its removal may be due.
    """

    def __init__(self, counts: Counter[JobId], left: Callable[[], None]) -> None:
        self._counts = counts
        self._left = left

    @contextmanager
    def pin(self, id: JobId) -> Iterator[None]:
        """Pins a job for the length of a block."""
        self._counts[id] += 1
        try:
            yield
        finally:
            self._counts[id] -= 1
            if not self._counts[id]:
                del self._counts[id]
                self._left()
