"""The supervisor's event loop: one thread, one poll, and the children that have ended."""

import os
import select
import signal
from collections.abc import Callable, Sequence
from types import FrameType

Call = Callable[[], None]
Death = tuple[int, int]  # process id, wait status


class Loop:
    """Calls whoever waits for a descriptor. A call may come without cause, and must bear it."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, Call] = {}

    def watch(self, descriptor: int, call: Call, mask: int = select.POLLIN) -> None:
        """Call whenever the descriptor has an event of the mask, or is at its end."""
        self._calls[descriptor] = call
        self._poll.register(descriptor, mask)

    def unwatch(self, descriptor: int) -> None:
        """Do not call any more; said before the descriptor is closed, and safe to say twice."""
        if self._calls.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def turn(self) -> None:
        """Wait for something to happen, and deal with it."""
        for descriptor, _ in self._poll.poll():
            if call := self._calls.get(descriptor):
                call()

    def watch_children(self, ended: Callable[[Sequence[Death], bool], None]) -> None:
        """Call ended(deaths, alone) whenever children have ended, adopted ones included.

        `alone` says that there is none left at all.
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

        signal.signal(signal.SIGCHLD, _note)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.watch(reader, reap)


def _note(number: int, frame: FrameType | None) -> None:
    """Take the signal; the byte on the wakeup pipe is what counts."""


def said(status: int) -> tuple[int, int]:
    """An exit code (128 + signal after a death by signal) and that signal, or 0."""
    code = os.waitstatus_to_exitcode(status)
    return (code, 0) if code >= 0 else (128 - code, -code)
