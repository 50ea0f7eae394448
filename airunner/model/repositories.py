"""Checks of repositories, branches and commits before they are passed to git.

As a URL git accepts far more than a network address: `ext::` runs a command, a leading dash
is an option, and a local path may contain hooks. So a repository is accepted only in one of
these forms:

    https://host/path   http://host/path   ssh://[user@]host/path   git://host/path
    [user@]host:path    (the scp-like form of ssh)
    file:///path        /path              (if the worker allows local repositories)

A password in the URL is refused, because every caller who may see the job would see it;
git finds the worker's own credentials without it. Refs follow the rules of
git-check-ref-format, under which a ref cannot look like an option.

A token in the place of the user name (`https://ghp_...@host/path`), in the path or in the query is
as secret as a password. has_secret() tells it: clients and the server's policy refuse it in a new job.
check_repository() accepts it, because a log may have such jobs; redacted() hides it in texts that are shown.

The entries of a sparse checkout that are plain paths are folders: git's cone mode, in which the checkout
has these folders with all below, the files beside them and beside the folders around them, and the files
at the top. One entry with a leading slash, an exclusion or a character of a pattern makes all entries
patterns as in .gitignore, and the checkout has exactly the files that they select.
"""

import re
from urllib.parse import quote, unquote, urlsplit

from airunner.model.errors import InvalidRequest
from airunner.model.limits import (
    PATH_BYTES_MAX,
    REF_BYTES_MAX,
    REPOSITORY_BYTES_MAX,
    SPARSE_BYTES_MAX,
    SPARSE_MAX,
)
from airunner.model.units import shortened
from airunner.model.validation import (
    check_count,
    check_printable,
    check_text_size,
    check_total_size,
)

SCHEMES = ("https", "http", "ssh", "git", "file")

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_SCP_LIKE = re.compile(r"(?:[A-Za-z0-9._][A-Za-z0-9._-]*@)?([^@:/\[]+|\[[^\]]*\]):(?!:)(?!-).+")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_BAD_IN_REF = re.compile(r"\.\.|@\{|//|[\x00-\x20\x7f~^:?*\[\\]")
# Tokens of GitHub and GitLab that no other text looks like.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[opusr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[A-Za-z0-9_-]{16,})"
)
# Beginnings of tokens in the place of a user name: also of Bitbucket, Slack, npm and Hugging Face.
_TOKEN_USER = re.compile(
    r"(?:gh[opusr]_|github_pat_|gl[a-z]{2,5}-|ATBB|ATCTT3|BBDC-|xox[a-z]-|npm_|hf_).{6,}", re.DOTALL
)
_RANDOM_CHARS_MIN = 20  # of a user name that is a token: of letters and digits alone, of both
_RANDOM_DIGITS_MIN = 3
_USER = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{0,15}://)([^\s/@:]*)(:[^\s/@]*)?@"
    r"|(?<![^\s'\"])([A-Za-z0-9._][A-Za-z0-9._-]*)(?=@[^\s/:@]+:)"
)
_SECRET_KEY = re.compile(
    r"([?&;][^=&;\s#]{0,32}(?:token|password|passwd|secret|api_?key)[^=&;\s#]{0,32}=)([^&;\s#'\"]+)",
    re.IGNORECASE,
)
_CLONE_FILTER = re.compile(r"blob:none|blob:limit=[0-9]{1,12}[kmg]?|tree:[0-9]{1,4}")
_PATTERN = re.compile(r"[/!]|.*[*?\[\]\\]")
_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")


def is_local(repository: str) -> bool:
    """Tells whether the repository is a path or a file: URL on the worker's machine."""
    return repository.startswith("/") or repository.lower().startswith("file:")


def local_address(path: str) -> str:
    """The address of an absolute path: itself, or a file: URL if it has a space or the like in it."""
    if path.isprintable() and not _UNPRINTABLE.search(path):
        return path
    return f"file://{quote(path, errors='surrogateescape')}"


def check_repository(repository: str, field: str = "repository") -> None:
    """Raise InvalidRequest unless the repository has one of the accepted forms."""

    def refuse(why: str) -> InvalidRequest:
        return InvalidRequest(field, why)

    check_text_size(field, repository, REPOSITORY_BYTES_MAX, "REPOSITORY_BYTES_MAX")
    if _UNPRINTABLE.search(repository):
        raise refuse(
            "has a space or a control character in it: write %20 for a space, as in "
            "file:///srv/my%20project"
        )
    if repository.startswith("-"):
        raise refuse("starts with a dash, so git would take it for an option")
    if "::" in repository.split("/", 1)[0] and "[" not in repository.split("/", 1)[0]:
        raise refuse("names a git remote helper (`helper::address`), which may run any command")
    if repository.startswith("/"):
        return
    if "://" in repository:
        _check_url(repository, field)
    elif not (match := _SCP_LIKE.fullmatch(repository)) or not _HOST.fullmatch(match[1]):
        raise refuse(
            "is not an address that git can clone: use https://host/path, "
            "ssh://user@host/path, user@host:path or an absolute path"
        )


def _check_url(repository: str, field: str) -> None:
    try:
        url = urlsplit(repository)
        _ = url.port
    except ValueError as error:
        raise InvalidRequest(field, f"is not a URL: {error}") from None
    if url.scheme not in SCHEMES:
        raise InvalidRequest(field, f"has the scheme {url.scheme!r}; use one of {SCHEMES}")
    if url.password is not None:
        raise InvalidRequest(
            field,
            "has a password in it, which everybody who may see the job would see; "
            "give the worker a credential helper or an SSH key instead",
        )
    if url.scheme == "file":
        if url.netloc not in ("", "localhost") or not url.path.startswith("/"):
            raise InvalidRequest(field, "is not a local file URL: use file:///path")
        return
    host = url.netloc.rpartition("@")[2]
    if url.port is not None:
        host = host.rpartition(":")[0]
    if not _HOST.fullmatch(host.removesuffix(":")):
        raise InvalidRequest(field, "has no host name that ssh and git can take")
    if url.username is not None and url.username.startswith("-"):
        raise InvalidRequest(field, "has a user name that ssh would take for an option")
    if url.path in ("", "/"):
        raise InvalidRequest(field, "names a host but no repository on it")


def has_secret(repository: str) -> bool:
    """Tells whether an address of a repository has a token or a password in it."""
    return redacted(repository) != repository


def check_no_secret(repository: str, field: str = "repository") -> None:
    """Raise InvalidRequest if the address has a secret in it: a check of new jobs, not of logs."""
    if has_secret(repository):
        raise InvalidRequest(
            field,
            "has a token in it, which all who see the job would see; "
            "give the worker a credential helper or an SSH key instead",
        )


def redacted(text: str) -> str:
    """A text with `***` for the passwords and tokens of the URLs in it, and for known tokens."""
    text = _USER.sub(_redacted_user, text)
    return _TOKEN.sub("***", _SECRET_KEY.sub(r"\1***", text))


def _redacted_user(found: re.Match[str]) -> str:
    scheme, user, password, scp_user = found.groups()
    if scp_user is not None:
        return "***" if _TOKEN_USER.fullmatch(scp_user) else scp_user
    name = unquote(user)
    secret = _TOKEN_USER.fullmatch(name) or (scheme.lower().startswith("http") and _is_random(name))
    return f"{scheme}{'***' if secret else user}{':***' if password else ''}@"


def _is_random(user: str) -> bool:
    """Tells whether a user name looks like a token: long, of letters and digits alone, of both."""
    digits = sum(char.isdigit() for char in user)
    random = user.isascii() and user.isalnum() and len(user) >= _RANDOM_CHARS_MIN
    return random and _RANDOM_DIGITS_MIN <= digits < len(user)


def check_branch(branch: str, field: str = "branch") -> None:
    """Raise InvalidRequest unless `branch` is a valid name of a branch or tag."""
    check_text_size(field, branch, REF_BYTES_MAX, "REF_BYTES_MAX")
    bad = (
        _BAD_IN_REF.search(branch)
        or branch.startswith(("-", "/"))
        or branch.endswith(("/", "."))
        or branch == "@"
        or any(part.startswith(".") or part.endswith(".lock") for part in branch.split("/"))
    )
    if bad:
        raise InvalidRequest(field, f"{branch!r} is not a branch or tag name that git allows")


def check_commit(commit: str, field: str = "commit") -> None:
    """Raise InvalidRequest unless `commit` may be the name of a revision: an id, a branch, `v1~3`.

    git decides whether the repository has it. The name must not look like an option, nor like a
    range or a file of a revision, which are no commits.
    """
    check_printable(field, commit, REF_BYTES_MAX, "REF_BYTES_MAX")
    if (
        not commit
        or commit.startswith(("-", "+"))
        or ".." in commit
        or ":" in commit
        or commit != commit.strip()
    ):
        raise InvalidRequest(field, f"{commit!r} is not the name of a commit that git takes")


def check_clone_filter(filter_spec: str, field: str = "git_clone.filter") -> None:
    """Raise InvalidRequest unless `filter_spec` is a filter that a partial clone may have.

    git's other filters need a file of the repository (sparse:oid), combine filters, or leave out
    what a checkout reads at once.
    """
    if not _CLONE_FILTER.fullmatch(filter_spec):
        raise InvalidRequest(
            field,
            f"{shortened(filter_spec)!r} is not a filter: use blob:none, blob:limit=1m or tree:0",
        )


def check_sparse(entries: tuple[str, ...], field: str = "git_clone.sparse") -> None:
    """Raise InvalidRequest unless git takes each entry for a folder or a pattern, and for no option."""
    check_count(field, entries, SPARSE_MAX, "SPARSE_MAX")
    check_total_size(field, entries, SPARSE_BYTES_MAX, "SPARSE_BYTES_MAX")
    for entry in entries:
        check_printable(field, entry, PATH_BYTES_MAX, "PATH_BYTES_MAX")
        if entry.startswith("-"):
            raise InvalidRequest(field, f"{entry!r} looks like an option: write '/{entry}'")
        if not entry.strip(" !/") or ".." in entry.split("/"):
            raise InvalidRequest(field, f"{entry!r} is not a folder or a pattern in the repository")


def are_folders(entries: tuple[str, ...]) -> bool:
    """Tells whether all entries of a sparse checkout are folders, not patterns."""
    return not any(map(_PATTERN.match, entries))


def is_commit_id(commit: str) -> bool:
    """Tells whether a name of a commit has the form of an id, whole or abbreviated."""
    return _COMMIT.fullmatch(commit) is not None
