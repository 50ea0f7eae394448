"""Keyed items, soonest first, any of which may be dropped."""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T", bound=str)


class Deadlines(Generic[T]):
    """A heap that forgets lazily: a dropped item stays until it would come first.

    An item that is put again moves. What was forgotten never outweighs what is
    kept: past twice as many entries as items the heap is made anew, so that a
    lease renewed for days leaves no trail. put, drop and first are O(log n), amortised.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, T]] = []
        self._key: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._key)

    def key(self, item: T) -> int | None:
        """The item's key; None if it is not there."""
        return self._key.get(item)

    def put(self, item: T, key: int) -> None:
        self._key[item] = key
        heappush(self._heap, (key, item))
        if len(self._heap) > 2 * len(self._key) + 64:
            self._heap = [(key, item) for item, key in self._key.items()]
            heapify(self._heap)

    def drop(self, item: T) -> None:
        """Forget the item; one that is not there is fine."""
        self._key.pop(item, None)

    def first(self) -> tuple[int, T] | None:
        while self._heap:
            key, item = self._heap[0]
            if self._key.get(item) == key:
                return key, item
            heappop(self._heap)
        return None
