"""A priority queue of deadlines from which any item may be dropped."""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T", bound=str)


class Deadlines(Generic[T]):
    """A heap with lazy deletion: a dropped item stays in the heap until it would come first.

    An item that is put again moves. The heap is rebuilt once it has more than twice as many entries
    as items, so a lease that is renewed for days leaves no trail. put(), drop() and first() are
    O(log n), amortised.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, T]] = []
        self._key: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._key)

    def key(self, item: T) -> int | None:
        """The item's key; None if the item is absent."""
        return self._key.get(item)

    def put(self, item: T, key: int) -> None:
        self._key[item] = key
        heappush(self._heap, (key, item))
        if len(self._heap) > 2 * len(self._key) + 64:
            self._heap = [(key, item) for item, key in self._key.items()]
            heapify(self._heap)

    def drop(self, item: T) -> None:
        """Removes the item if it is present."""
        self._key.pop(item, None)

    def first(self) -> tuple[int, T] | None:
        """The lowest key and its item; None if there is no item."""
        while self._heap:
            key, item = self._heap[0]
            if self._key.get(item) == key:
                return key, item
            heappop(self._heap)
        return None
