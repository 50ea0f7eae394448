"""The error sentences of an attempt's artifacts, limited to a number that a person reads."""

from typing import Final

ERRORS_MAX: Final = 20  # errors that an end lists in full; the rest is counted


class Errors:
    """The first ERRORS_MAX sentences, and the number of further errors."""

    def __init__(self) -> None:
        self._sentences: list[str] = []
        self._more = 0

    def add(self, sentence: str) -> None:
        """Adds an error about one artifact."""
        if len(self._sentences) < ERRORS_MAX:
            self._sentences.append(sentence)
        else:
            self._more += 1

    def sentences(self) -> tuple[str, ...]:
        """All sentences, or the first and a last sentence with the number of further errors."""
        more = (f"{self._more} more artifacts could not be stored",) if self._more else ()
        return (*self._sentences, *more)
