"""Text that is safe to print: no character of a job, a server or a file acts on the terminal.

Rules

1. printable() is the only rule: every character that str.isprintable() refuses becomes an escape
   (system/printable_text.py, which the worker needs too).
2. say() and note() apply it to every text, the logs of server and worker to every field, and tables
   to every cell before it is measured. A caller need not escape.
3. Escape sequences of airunner's own (colours, `list --watch`) are TerminalText, which printable()
   leaves as it is. Formatting or joining gives plain text again: a mistake shows an escape.
4. JSON has its own escapes: json_line() writes the same characters with \\u, which a parser
   reads back unchanged.

The output of a job is printed byte for byte (`monitor`, `logs`, `submit`), and is none of this.
"""

import json
from re import Match
from re import compile as pattern
from typing import Final

from airunner.system.printable_text import TerminalText, printable

__all__ = ["TerminalText", "coloured", "json_line", "printable"]

_BEYOND_ASCII: Final = pattern(r"[^ -~]")


def coloured(text: str, colour: str) -> TerminalText:
    """The text in a colour: the parameters of an SGR sequence, such as "31" or "1"."""
    return TerminalText(f"\x1b[{colour}m{printable(text)}\x1b[0m")


def json_line(value: object) -> str:
    """The JSON of a value in one line, with every character that is not printable as an escape."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else _BEYOND_ASCII.sub(_json_escape, text)


def _json_escape(found: Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]
