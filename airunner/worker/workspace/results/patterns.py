"""A job's artifact patterns, which match paths like the lines of a .gitignore.

    *.xml          each such file, at any depth             /dist          only at the top
    build/         all files in such a folder               docs/**/*.html below docs, at any depth
    !build/tmp     not this path: the last pattern that matches decides

- Unlike git, a path that a pattern excludes stays excluded if its folder is included as a whole.
- An empty folder is an artifact if a pattern matches it, like the files below a matching folder.
- `.git` is matched only by a pattern that contains `.git` as a name, such as `.git/HEAD`.
"""

import re
import warnings
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

_GIT = ".git"


class Patterns:
    """The patterns of one job."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Raises ValueError with a sentence if a pattern can match no file."""
        for text in texts:
            if text.removeprefix("!").startswith("./"):
                raise ValueError(f"{text!r} matches no file: remove the leading ./")
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", FutureWarning)  # [[:x:]], unknown to Python's re
                    (pattern,) = GitIgnoreSpec.from_lines([text]).patterns
            except (ValueError, re.error, FutureWarning):
                raise ValueError(f"{text!r} is not a pattern as in .gitignore") from None
            if pattern.include is None:
                raise ValueError(
                    f"{text!r} matches no file: is it a comment, or a bracket not closed?"
                )
        self._spec = GitIgnoreSpec.from_lines(texts)
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
        return self._spec.match_file(path)

    def name(self, path: str) -> bool:
        """Whether a pattern is exactly this path, without a wildcard."""
        return path in self._names

    @property
    def match_git(self) -> bool:
        """Whether a pattern contains `.git` as a name."""
        return self._git
