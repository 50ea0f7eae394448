"""Who reads of which job now, so that retention spares it meanwhile."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airunner.model.jobs import JobId


class Pins:
    """Counts the readers of each job in `counts`, which the engine looks into.

    `left` is called when a job has lost its last reader: it may be due to go.
    """

    def __init__(self, counts: Counter[JobId], left: Callable[[], None]) -> None:
        self._counts = counts
        self._left = left

    @contextmanager
    def pin(self, id: JobId) -> Iterator[None]:
        """The length of a block in which somebody reads."""
        self._counts[id] += 1
        try:
            yield
        finally:
            self._counts[id] -= 1
            if not self._counts[id]:
                del self._counts[id]
                self._left()
