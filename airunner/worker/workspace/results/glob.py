"""One pattern of a .gitignore as regular expressions that match in linear time.

A job writes the patterns and makes the paths, and one thread of the worker holds the interpreter's
lock while it matches. A backtracking `[^/]*a[^/]*a[^/]*b` takes hours on a path of 200 letters, and
the worker renews no lease meanwhile. So each expression is built of atomic groups, which never give
back what they have matched:

    a*b*c      within a name: `a`, then the first `b` behind it, then a `c` that ends the name. The
               parts between stars have fixed lengths, so the first place of a part is as good as any
               later one, and leaves the most for the rest.
    x/**/y/z   between names: the first place of `y/z` behind `x`, for the same reason, with whole
               names in the place of characters.

So each part is tried once at each place. Rejected: the expressions of pathspec, which backtrack (the
tests compare the matches of both); RE2, which reads no path whose bytes are not UTF-8, and is a
library in C++; a limit of time, which lets a short pattern fail on a busy machine.
"""

import re
import warnings
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

_ANY: Final = r"[^/]"
_REST_OF_NAME: Final = r"[^/]*+"
_NAME: Final = r"[^/]++"
_END_OF_NAME: Final = r"(?=/|\Z)"


class BracketNotClosed(ValueError):
    """A set of characters has no end, so git takes the pattern for none."""


class Match(IntEnum):
    """How a pattern matches a path; the strongest last."""

    NONE = 0
    FOLDER_ABOVE = 1  # the pattern matches a folder above the path
    PATH = 2  # the pattern matches the path itself, or says everything below a folder


class Glob:
    """A pattern, without a leading `!`."""

    def __init__(self, text: str) -> None:
        """Raises ValueError if the text is no pattern, or can match nothing."""
        if not text:
            raise ValueError(text)
        *above, last = text.split("/")
        anchored = bool(above) and (bool(last) or len(above) > 1)
        names = [*above[not above[0] :], last or "**"] if above else [last]
        if not anchored and names[0] != "**":
            names.insert(0, "**")
        blocks = _blocks(names)
        everything_below = names[-1] == "**"
        self._below_is = Match.FOLDER_ABOVE if not everything_below or not last else Match.PATH
        self._matches_all = names == ["**", "*"] or (set(names) == {"**"} and bool(last))
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # [[:x:]], unknown to Python's re
            try:
                self._below = re.compile(_expression(blocks, "/"))
                self._path = None if everything_below else re.compile(_expression(blocks, r"\Z"))
            except (re.error, FutureWarning):
                raise ValueError(text) from None

    def match(self, path: str) -> Match:
        """How the pattern matches a path; the path of a folder ends with a slash."""
        if self._matches_all or (self._path and self._path.match(path)):
            return Match.PATH
        return self._below_is if self._below.match(path) else Match.NONE


def _blocks(names: list[str]) -> list[list[str]]:
    """The names between `**`, as expressions; the first block is empty if `**` comes first."""
    blocks: list[list[str]] = [[]]
    for name in names:
        if name != "**":
            blocks[-1].append(_name(name))
        elif blocks[-1] or len(blocks) == 1:
            blocks.append([])
    if len(blocks) > 1 and not blocks[-1]:
        blocks.pop()
    return blocks


def _expression(blocks: list[list[str]], end: str) -> str:
    """The expression for the blocks, in this order, at any distance but the first, and an end."""
    first, *others = ("/".join(block) for block in blocks)
    if not others:
        return f"{first or _NAME}{end}"
    *middle, last = others
    parts = [first]
    parts += [f"(?>(?:/{_NAME})*?/{block})" for block in middle]
    if first or middle:
        parts.append(f"(?:/{_NAME})*?/{last}{end}")
    else:
        parts.append(f"(?:{_NAME}/)*?{last}{end}")
    if not first and middle:  # the first of them may begin the path
        parts[1] = f"(?>(?:{_NAME}/)*?{middle[0]})"
    return "".join(parts)


def _name(text: str) -> str:
    """The expression for one name."""
    if text == "*":
        return _NAME
    parts = [""]  # the parts between the stars
    for piece in _pieces(text):
        if piece == "*":
            parts.append("")
        else:
            parts[-1] += piece
    first, *others = parts
    if not others:
        return f"{first}{_END_OF_NAME}"
    *middle, last = others
    searches = "".join(f"(?>{_ANY}*?{part})" for part in middle if part)
    end = f"{_ANY}*{last}{_END_OF_NAME}" if last else _REST_OF_NAME
    return f"(?>{first}{searches}{end})"


def _pieces(text: str) -> Iterator[str]:
    """The expressions for the characters of a name, each of one character; `*` for a star."""
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        match character:
            case "*":
                yield "*"
            case "?":
                yield _ANY
            case "\\":
                if index == len(text):
                    raise ValueError(text)
                yield re.escape(text[index])
                index += 1
            case "[":
                end = text.find("]", index + (text[index : index + 1] in ("!", "^")) + 1)
                if end < 0:
                    raise BracketNotClosed(text)
                yield _bracket(text[index:end])
                index = end + 1
            case _:
                yield re.escape(character)


def _bracket(text: str) -> str:
    """The expression for a set of characters, which never has the slash between names in it."""
    negated = text[:1] in ("!", "^")
    members = text[negated:].replace("\\", "\\\\")
    return f"(?!/)[{'^' * negated}{members}]"
