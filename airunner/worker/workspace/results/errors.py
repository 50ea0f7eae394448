"""What could not be kept, in a sentence each, and not more of them than somebody reads."""

from typing import Final

ERRORS_MAX: Final = 20  # errors that an end lists in full; the rest is counted


class Errors:
    """The first sentences, and how many more there were."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._more = 0

    def add(self, sentence: str) -> None:
        if len(self._told) < ERRORS_MAX:
            self._told.append(sentence)
        else:
            self._more += 1

    def told(self) -> tuple[str, ...]:
        """All of them, or the first and a last one that counts the others."""
        more = (f"{self._more} more artifacts could not be kept",) if self._more else ()
        return (*self._told, *more)
