"""A job's artifact patterns, which match paths like the lines of a .gitignore.

    *.xml          each such file, at any depth             /dist          only at the top
    build/         all files in such a folder               docs/**/*.html below docs, at any depth
    !build/tmp     not this path: the last pattern that matches decides

- Unlike git, a path that a pattern excludes stays excluded if its folder is included as a whole.
- An empty folder is an artifact if a pattern matches it, like the files below a matching folder.
- `.git` is matched only by a pattern that contains `.git` as a name, such as `.git/HEAD`.
- No pattern takes longer than linear time in the length of a path (glob.py).
"""

from collections.abc import Sequence

from airunner.worker.workspace.results.glob import BracketNotClosed, Glob, Match

_GIT = ".git"


class Patterns:
    """The patterns of one job."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Raises ValueError with a sentence if a pattern can match no file."""
        self._globs = [_glob(text) for text in texts][::-1]  # the last one decides
        including = [text.rstrip().strip("/") for text in texts if not text.startswith("!")]
        if texts and not including:
            raise ValueError(
                f"{texts[0]!r} excludes from an empty selection: put an including pattern before it"
            )
        self._names = frozenset(including)
        self._git = any(_GIT in text.split("/") for text in including)

    def __bool__(self) -> bool:
        return bool(self._names)

    def match(self, path: str) -> bool:
        """Whether the patterns match a path; the path of a folder ends with a slash."""
        if not self._git and _GIT in path.split("/"):
            return False
        included, strongest = False, Match.NONE
        for glob, including in self._globs:
            if (found := glob.match(path)) > strongest:
                included, strongest = including, found
                if found is Match.PATH:
                    break
        return included

    def name(self, path: str) -> bool:
        """Whether a pattern is exactly this path, without a wildcard."""
        return path in self._names

    @property
    def match_git(self) -> bool:
        """Whether a pattern contains `.git` as a name."""
        return self._git


def _glob(text: str) -> tuple[Glob, bool]:
    """A pattern, and whether it includes. Raises ValueError with a sentence."""
    if text.removeprefix("!").startswith("./"):
        raise ValueError(f"{text!r} matches no file: remove the leading ./")
    plain = text if text.endswith("\\ ") else text.rstrip()
    nothing = f"{text!r} matches no file: is it a comment, or a bracket not closed?"
    if not plain or plain == "/" or plain.startswith("#"):
        raise ValueError(nothing)
    try:
        return Glob(plain.removeprefix("!")), not plain.startswith("!")
    except BracketNotClosed:
        raise ValueError(nothing) from None
    except ValueError:
        raise ValueError(f"{text!r} is not a pattern as in .gitignore") from None
