"""Patterns of artifacts and of sparse checkouts as people write them, as a worker can match them.

A .gitignore has no `.` and no empty name in a path, so `./dist` and `a//b` match nothing there. Here
`./dist` is the `dist` at the top of the workspace, `/dist`: a path means that path, and no `dist`
of a package below. `.` is everything. A comment, and an exclusion without anything to
exclude from, are refused when the job is submitted, instead of on the worker.
"""

from collections.abc import Sequence

from airunner.model.repositories import are_folders

_EVERYTHING = "/*"


def usable_patterns(texts: Sequence[str]) -> tuple[str, ...]:
    """The patterns without `.` and empty names. Raises ValueError with a sentence."""
    for text in texts:
        if text.startswith("#"):
            raise ValueError(
                f"{text!r} is a comment in a .gitignore: write '\\{text}' for a name that begins with #"
            )
    if texts and all(text.startswith("!") for text in texts):
        raise ValueError(
            f"{texts[0]!r} excludes from an empty selection: put an including pattern before it"
        )
    return tuple(map(_without_dots, texts))


def usable_sparse(texts: Sequence[str]) -> tuple[str, ...]:
    """The entries of a sparse checkout without `.` and empty names. Raises ValueError with a sentence."""
    folders = tuple(map(_folder, texts))
    if not are_folders(folders):
        return usable_patterns(texts)
    if "" in folders:
        raise ValueError(f"{texts[folders.index('')]!r} is the whole repository: leave sparse out")
    return folders


def _folder(text: str) -> str:
    if text.startswith("/"):
        return text
    return "/".join(part for part in text.split("/") if part not in ("", "."))


def _without_dots(text: str) -> str:
    sign, path = ("!", text[1:]) if text.startswith("!") else ("", text)
    parts = path.split("/")
    names = [part for part in parts if part not in ("", ".")]
    if not path.strip():
        return text
    if not names:
        return f"{sign}{_EVERYTHING}"
    top = "/" if parts[0] in ("", ".") else ""
    folder = "/" if parts[-1] in ("", ".") else ""
    return f"{sign}{top}{'/'.join(names)}{folder}"
