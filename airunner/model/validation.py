"""Checks of single fields against limits.py.

Each check raises InvalidRequest with the name of the field, the rule that it breaks and,
for a limit, the limit's name and value.
"""

import re
from collections.abc import Iterable, Mapping, Sized

from airunner.model import limits
from airunner.model.errors import InvalidRequest

_SHOWN_MAX = 10**60  # a number in an error; str() fails for more than 4,300 digits
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_range(field: str, value: int, low: int, high: int, unit: str) -> None:
    """Raise InvalidRequest unless low <= value <= high."""
    if not low <= value <= high:
        shown = str(value) if abs(value) <= _SHOWN_MAX else "the number"
        raise InvalidRequest(field, f"{shown} is not within {low} to {high} {unit}")


def check_text_size(field: str, text: str, size: int, limit: str) -> None:
    """Raise InvalidRequest if the text is not valid UTF-8 or longer than `size` bytes."""
    if utf8_size(field, text) > size:
        raise InvalidRequest(field, f"is longer than {limit} ({size} bytes)")


def utf8_size(field: str, text: str) -> int:
    """The size of a text in bytes of UTF-8. Raises InvalidRequest for a NUL or a lone surrogate."""
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
    """Raise InvalidRequest if the texts together are longer than `size` bytes."""
    total = 0
    for text in texts:
        total += utf8_size(field, text)
    if total > size:
        raise InvalidRequest(field, f"takes {total} bytes, more than {limit} ({size} bytes)")


def check_printable(field: str, text: str, size: int, limit: str) -> None:
    """Raise InvalidRequest unless the text is one printable line of at most `size` bytes."""
    check_text_size(field, text, size, limit)
    if not text.isprintable():
        raise InvalidRequest(field, "has characters in it that cannot be shown in a line")


def check_relative_path(field: str, path: str, of: str = "the workspace") -> None:
    """Raise InvalidRequest unless the path is relative and has no `..`, so stays below `of`.

    A check of the text alone: symbolic links are the concern of the code that opens the path.
    """
    check_text_size(field, path, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidRequest(field, f"is not a path below {of}: use a relative path without `..`")


def check_environment(field: str, variables: Mapping[str, str]) -> None:
    """Raise InvalidRequest unless the variables have valid names and keep to the limits."""
    check_count(field, variables, limits.ENVIRONMENT_MAX, "ENVIRONMENT_MAX")
    for name in variables:
        if not _VARIABLE.fullmatch(name):
            raise InvalidRequest(field, f"{name!r} is not a variable name")
    pairs = [*variables, *variables.values()]
    check_total_size(field, pairs, limits.ENVIRONMENT_BYTES_MAX, "ENVIRONMENT_BYTES_MAX")
