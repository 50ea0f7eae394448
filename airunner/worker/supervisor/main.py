"""The supervisor: the small process, without threads, that starts the shims of a worker.

The worker starts it before any thread exists, and it forks without the hazards of a process
that has some. It reads orders, waits for children, and nothing else. It does not
listen to the terminal's signals, nor to those of whoever stops the worker: its one reason
to end is the end of the control socket, by whatever death of the worker. Then it has every tree
killed, waits until no process is left, and goes.

Rejected: PR_SET_PDEATHSIG, which fires when the thread that forked ends, and which no
grandchild inherits.
"""

import errno
import gc
import os
import signal
import socket

from airunner.worker.supervisor.cgroup import Cgroup, claim, own_group
from airunner.worker.supervisor.loop import Loop
from airunner.worker.supervisor.protocol import (
    BROKEN,
    CGROUP,
    FAILED,
    READY,
    REFUSED,
    SUBREAPER,
    WORD_BYTES_MAX,
    receive,
)
from airunner.worker.supervisor.shims import Shims
from airunner.worker.supervisor.spawn import DEAF_TO
from airunner.worker.supervisor.subreaper_tree import set_subreaper


class SupervisorProcess:
    """Takes orders from the control socket until their end."""

    def __init__(self, control: socket.socket, shims: Shims) -> None:
        self._control = control
        self._loop = Loop()
        self._shims = shims
        self._held = True

    def run(self) -> None:
        """Serve the worker; return when it is gone, and with it every process of every job."""
        self._loop.watch_children(self._shims.ended)
        self._loop.watch(self._control.fileno(), self._order)
        while self._held or not self._shims.empty:
            self._loop.turn()
        self._shims.close()

    def _order(self) -> None:
        if (received := receive(self._control, WORD_BYTES_MAX)) is None:
            return
        word, descriptors = received
        if not word:
            self._held = False
            self._loop.unwatch(self._control.fileno())
            self._shims.end()
        elif descriptors:
            self._start_shim(int(word), descriptors[0])
        else:  # or there was no room for the channel, whose end has told the worker
            self._shims.dismiss(int(word))

    def _start_shim(self, number: int, channel: int) -> None:
        try:
            self._shims.start_shim(number, channel)
        except OSError as error:
            path = os.fsencode(error.filename or b"")
            with socket.socket(fileno=channel) as told:
                told.send(b"%b %b %d %b" % (FAILED, BROKEN.encode(), error.errno or 0, path))


def main(kind: str) -> None:
    """Be the supervisor of the worker that holds the other end of standard input."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(1, 0)  # standard output is /dev/null or the lifeline, of which nobody reads
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in (*DEAF_TO, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()  # what is here is here to stay: no child copies a page only to look at it
    try:
        folder = _choose(kind)
    except OSError as error:
        why = f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)
        control.send(b"%b %b" % (REFUSED, os.fsencode(why)))
        return
    word = f"{CGROUP} {folder.path}" if folder else SUBREAPER
    control.send(b"%b %b" % (READY, word.encode()))
    SupervisorProcess(control, Shims(folder)).run()


def _choose(kind: str) -> Cgroup | None:
    """Where control groups are made; with AUTO, None if the worker may make none."""
    set_subreaper()  # orphans come here if their shim is killed
    if kind == SUBREAPER:
        return None
    group = own_group()
    folder = claim(group) if group else None
    if not folder and kind == CGROUP:
        raise OSError(errno.EACCES, "no control group of version 2 is writable", group)
    return folder
