"""Checks that a field keeps to its limit, and the sentence if it does not."""

import re
from collections.abc import Iterable, Mapping, Sized

from airunner.model import limits
from airunner.model.errors import InvalidRequest

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_range(field: str, value: int, low: int, high: int, unit: str) -> None:
    """Raise InvalidRequest unless low <= value <= high."""
    if not low <= value <= high:
        raise InvalidRequest(field, f"{value} is not within {low} to {high} {unit}")


def check_text_size(field: str, text: str, size: int, limit: str) -> None:
    """Raise InvalidRequest if the text is no text, or takes more than `size` bytes."""
    if utf8_size(field, text) > size:
        raise InvalidRequest(field, f"is longer than {limit} ({size} bytes)")


def utf8_size(field: str, text: str) -> int:
    """Bytes of a text in UTF-8; InvalidRequest if it has none, or has a NUL in it."""
    if "\0" in text:
        raise InvalidRequest(field, "has a NUL character in it")
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(field, "has bytes in it that are not UTF-8") from None


def check_count(field: str, items: Sized, most: int, limit: str) -> None:
    """Raise InvalidRequest if there are more than `most` items."""
    if (count := len(items)) > most:
        raise InvalidRequest(field, f"has {count} entries, more than {limit} ({most})")


def check_total_size(field: str, texts: Iterable[str], size: int, limit: str) -> None:
    """Raise InvalidRequest if the texts take more than `size` bytes together."""
    total = 0
    for text in texts:
        total += utf8_size(field, text)
    if total > size:
        raise InvalidRequest(field, f"takes {total} bytes, more than {limit} ({size} bytes)")


def check_printable(field: str, text: str, size: int, limit: str) -> None:
    """Raise InvalidRequest unless the text can be shown in one line, and is short enough."""
    check_text_size(field, text, size, limit)
    if not text.isprintable():
        raise InvalidRequest(field, "has characters in it that cannot be shown in a line")


def check_relative_path(field: str, path: str, of: str = "the workspace") -> None:
    """Raise InvalidRequest unless the path leads down from a folder by what it says itself."""
    check_text_size(field, path, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidRequest(field, f"is not a path below {of}: write it as seen from there")


def check_environment(field: str, variables: Mapping[str, str]) -> None:
    """Raise InvalidRequest unless these can be environment variables, and are few enough."""
    check_count(field, variables, limits.ENVIRONMENT_MAX, "ENVIRONMENT_MAX")
    for name in variables:
        if not _VARIABLE.fullmatch(name):
            raise InvalidRequest(field, f"{name!r} is not a variable name")
    pairs = [*variables, *variables.values()]
    check_total_size(field, pairs, limits.ENVIRONMENT_BYTES_MAX, "ENVIRONMENT_BYTES_MAX")
