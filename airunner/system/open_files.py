"""The number of files and sockets that this process may open."""

import resource
from contextlib import suppress


def raise_open_files() -> int:
    """Raises the limit of open files as far as the system lets this process; returns the earlier one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems name a hard limit that they refuse
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def lower_open_files(soft: int) -> None:
    """Takes back raise_open_files(), which returned `soft`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files() -> int:
    """The most files that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31
