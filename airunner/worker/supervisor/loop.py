"""The event loop of the supervisor and of its shims: one thread, one poll(), and ended children."""

import os
import select
import signal
from collections.abc import Callable, Sequence
from types import FrameType

Call = Callable[[], None]
Death = tuple[int, int]  # process id, wait status


class Loop:
    """Calls a callback for each event of a descriptor.

    A callback must tolerate a call without an event.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, Call] = {}

    def watch(self, descriptor: int, call: Call, mask: int = select.POLLIN) -> None:
        """Registers a callback for the events of the mask and for the end of the descriptor."""
        self._calls[descriptor] = call
        self._poll.register(descriptor, mask)

    def unwatch(self, descriptor: int) -> None:
        """Removes a callback, before the descriptor is closed; safe to call twice."""
        if self._calls.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def run_once(self, milliseconds: int | None = None) -> None:
        """Waits for events, at most for this time, and makes their callbacks."""
        for descriptor, _ in self._poll.poll(milliseconds):
            if call := self._calls.get(descriptor):
                call()

    def watch_children(self, ended: Callable[[Sequence[Death], bool], None]) -> None:
        """Registers a callback for ended children, adopted orphans included.

        The callback gets the deaths, and whether this process has no child left.
        """
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

        def reap() -> None:
            try:
                os.read(reader, 4096)
            except BlockingIOError:
                return
            deaths: list[Death] = []
            try:
                while (death := os.waitpid(-1, os.WNOHANG))[0]:
                    deaths.append(death)
            except ChildProcessError:
                ended(deaths, True)
            else:
                ended(deaths, False)

        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.watch(reader, reap)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Handles SIGCHLD: only the byte on the wakeup pipe counts."""


def exit_status(status: int) -> tuple[int, int]:
    """The exit code (128 + signal after a death by signal) and the signal, or 0, of a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return (code, 0) if code >= 0 else (128 - code, -code)
