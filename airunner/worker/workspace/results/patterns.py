"""Which paths a job's patterns of artifacts mean, as lines of a .gitignore would.

    *.xml          every such file, wherever it is          /dist          only that at the top
    build/         all that is in such a folder             docs/**/*.html below docs, at any depth
    !build/tmp     but not this: the last pattern that matches counts

- Other than git, what a pattern takes out stays out of a folder that is in as a whole.
- A folder without anything in it is an artifact if a pattern means it, as all below it is.
- `.git` is meant by a pattern that has it as a name alone, such as `.git/HEAD`.
"""

import re
import warnings
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

_GIT = ".git"


class Patterns:
    """The patterns of one job."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Raises ValueError with a sentence if one of them means nothing."""
        for text in texts:
            if text.removeprefix("!").startswith("./"):
                raise ValueError(f"{text!r} means no file: leave out the ./ that it begins with")
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", FutureWarning)  # for what regexes lack: [[:x:]]
                    (pattern,) = GitIgnoreSpec.from_lines([text]).patterns
            except (ValueError, re.error, FutureWarning):
                raise ValueError(f"{text!r} is not a pattern as in .gitignore") from None
            if pattern.include is None:
                raise ValueError(f"{text!r} means no file: is it a comment, or not closed?")
        self._spec = GitIgnoreSpec.from_lines(texts)
        meant = [text.rstrip().strip("/") for text in texts if not text.startswith("!")]
        if texts and not meant:
            raise ValueError(f"{texts[0]!r} takes out of nothing: say before it what is to be kept")
        self._names = frozenset(meant)
        self._git = any(_GIT in text.split("/") for text in meant)

    def __bool__(self) -> bool:
        return bool(self._names)

    def mean(self, path: str) -> bool:
        """Whether what has this path is meant; that of a folder ends with a slash."""
        if not self._git and _GIT in path.split("/"):
            return False
        return self._spec.match_file(path)

    def name(self, path: str) -> bool:
        """Whether one of them is this very path, without a wildcard."""
        return path in self._names

    @property
    def reach_git(self) -> bool:
        """Whether one of them is about `.git`."""
        return self._git
