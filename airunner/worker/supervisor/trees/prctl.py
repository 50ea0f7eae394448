"""Settings of the own process by prctl(2)."""

from typing import Final

_SET_DUMPABLE: Final = 4
_SET_CHILD_SUBREAPER: Final = 36


def set_subreaper() -> None:
    """Makes this process the parent of every orphan below it. Raises OSError."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def forbid_tracing() -> None:
    """Lets no process of the same user trace this process, or read its memory. Raises OSError.

    Children inherit the setting until they execute another program. A privileged process may trace.
    """
    _prctl(_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    import ctypes  # noqa: PLC0415 - slow to import, and the worker's side seldom needs it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")
