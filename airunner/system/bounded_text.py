"""Texts of reports and errors: valid UTF-8, no NUL, and no longer than a limit.

A text that a job, a file name or a program has written may hold anything. It is made valid and is cut
here before it is stored or sent. The middle goes: an error begins with its subject, and the output of
a program ends with its error.
"""

from typing import Final

_MARK: Final = " ... [{:,} bytes cut] ... "
_MARK_BYTES_MAX: Final = 64


def bounded_text(text: str, bytes_max: int) -> str:
    """The text with its middle cut out beyond the limit, and with escapes for characters that are no text."""
    if len(text) <= bytes_max and text.isascii() and "\0" not in text:
        return text
    data = text.encode(errors="backslashreplace").replace(b"\0", b"\\x00")
    if len(data) <= bytes_max:
        return data.decode()
    half = (bytes_max - _MARK_BYTES_MAX) // 2
    cut = len(data) - 2 * half
    head, tail = data[:half].decode(errors="ignore"), data[-half:].decode(errors="ignore")
    return f"{head}{_MARK.format(cut)}{tail}"
