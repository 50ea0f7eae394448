"""The remedies for failures of git: a sentence each for the worker's operator or the submitter."""

import re
from typing import Final

_LOGIN: Final = (
    "the repository asks for a login: give the worker's git a credential helper, or check that the "
    "address is right"
)
_UNKNOWN_HOST: Final = "ssh does not know the host: add its key to known_hosts of the worker's user"
_SSH_REFUSED: Final = "ssh was refused: give the worker's user an SSH key that the host accepts"
LOCAL_REFUSED: Final = (
    "this worker clones no repositories of its own disks: start it with "
    "--allow-local-repositories, or name a remote repository"
)
_TRANSPORT: Final = "airunner clones https, http, ssh and git addresses alone: change the address, also in .gitmodules"
_OWNER: Final = (
    "the folder belongs to another user: add it to safe.directory in the git configuration of the "
    "worker's user"
)
_DISK: Final = "the worker's disk is full: free space on it, or clone with a smaller depth"
_NO_HOST: Final = (
    "the worker does not find the host: check the address, and the worker's network and proxy"
)
_CERTIFICATE: Final = (
    "the worker does not trust the host's certificate: set http.sslCAInfo in its git configuration"
)
_NO_REPOSITORY: Final = "no repository is there: check the address; for a folder, name the top folder of a git repository"
_LFS: Final = (
    "Git LFS could not fetch a file: check that its server has the file and lets the worker's git in; "
    "files of the worker's own disks need --allow-local-repositories"
)

_REMEDIES: Final = (
    (
        re.compile(
            r"terminal prompts disabled|could not read (?:Username|Password)|Authentication failed"
            r"|Invalid username or (?:password|token)"
        ),
        _LOGIN,
    ),
    (re.compile(r"Host key verification failed"), _UNKNOWN_HOST),
    (
        re.compile(r"Permission denied \([a-z,-]*(?:publickey|password|keyboard-interactive)"),
        _SSH_REFUSED,
    ),
    (re.compile(r"transport 'file' not allowed"), LOCAL_REFUSED),
    (re.compile(r"transport '[^']*' not allowed"), _TRANSPORT),
    (re.compile(r"detected dubious ownership"), _OWNER),
    (re.compile(r"No space left on device|Disk quota exceeded"), _DISK),
    (re.compile(r"Could not resolve host|Name or service not known"), _NO_HOST),
    (re.compile(r"certificate verification failed|SSL certificate problem"), _CERTIFICATE),
    (
        re.compile(
            r"does not appear to be a git repository"
            r"|fatal: repository '.*' (?:does not exist|not found)"
        ),
        _NO_REPOSITORY,
    ),
    (re.compile(r"smudge filter lfs failed"), _LFS),
)


def remedy_for(stderr: str) -> str:
    """The remedy for the first known failure in git's standard error; "": none is known."""
    return next((remedy for pattern, remedy in _REMEDIES if pattern.search(stderr)), "")
