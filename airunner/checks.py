"""Checks that a field keeps to its limit, and the sentence if it does not."""

from collections.abc import Iterable

from airunner.errors import InvalidRequest


def check_within(field: str, value: int, low: int, high: int, unit: str) -> None:
    """Raise InvalidRequest unless low <= value <= high."""
    if not low <= value <= high:
        raise InvalidRequest(field, f"{value} is not within {low} to {high} {unit}")


def check_text(field: str, text: str, size: int, limit: str) -> None:
    """Raise InvalidRequest if the text has a NUL in it or takes more than `size` bytes."""
    if "\0" in text:
        raise InvalidRequest(field, "has a NUL character in it")
    if len(text.encode("utf-8", "surrogatepass")) > size:
        raise InvalidRequest(field, f"is longer than {limit} ({size} bytes)")


def check_count(field: str, items: Iterable[str], most: int, limit: str) -> None:
    """Raise InvalidRequest if there are more than `most` items."""
    if (count := sum(1 for _ in items)) > most:
        raise InvalidRequest(field, f"has {count} entries, more than {limit} ({most})")


def check_total(field: str, texts: Iterable[str], size: int, limit: str) -> None:
    """Raise InvalidRequest if the texts take more than `size` bytes together."""
    total = 0
    for text in texts:
        if "\0" in text:
            raise InvalidRequest(field, "has a NUL character in it")
        total += len(text.encode("utf-8", "surrogatepass"))
    if total > size:
        raise InvalidRequest(field, f"takes {total} bytes, more than {limit} ({size} bytes)")
