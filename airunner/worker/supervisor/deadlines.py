"""The deadlines of shims, as the supervisor keeps them.

A command may run for as long as its worker holds the job's lease. The worker sends the end of the
lease to the supervisor at the command's start and after each renewal. A worker that is frozen sends
nothing, and cannot kill: so the supervisor kills the tree when the deadline has passed, before a
second attempt begins elsewhere. All times are of CLOCK_MONOTONIC, which all processes share.
"""

import time


class Deadlines:
    """The deadline of each shim that has one, by the shim's number."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}  # in milliseconds

    def set(self, number: int, at: int) -> None:
        """Sets the deadline of a shim, in milliseconds; 0 removes it."""
        if at:
            self._times[number] = at
        else:
            self._times.pop(number, None)

    def milliseconds_left(self) -> int | None:
        """The time to the first deadline, at least 0; None if there is no deadline."""
        return max(0, min(self._times.values()) - _now()) if self._times else None

    def take_expired(self) -> list[int]:
        """The numbers of the shims whose deadlines have passed, which are removed."""
        now = _now()
        expired = [number for number, at in self._times.items() if at <= now]
        for number in expired:
            del self._times[number]
        return expired


def _now() -> int:
    return time.monotonic_ns() // 1_000_000
