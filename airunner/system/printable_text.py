"""Printable text: no character of a job, a server, a file or a program acts on a terminal.

Every character that str.isprintable() refuses becomes an escape: the control characters (C0, and
C1 with U+009B, the 8-bit form of ESC [), the characters that reorder a line (U+202E and the other
bidirectional controls), invisible characters, and lone surrogates. cli/render/terminal_text.py has
the rules of the command line.
"""


class TerminalText(str):
    """Text with escape sequences of airunner's own; the rest of it has been escaped already."""

    __slots__ = ()


def printable(text: str) -> str:
    """The text with each character that is not printable as an escape, such as \\x9b or \\u202e."""
    if isinstance(text, TerminalText) or text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
