"""The keeper: the small process, without threads, that starts every command of a worker.

The worker starts it before any thread exists, and it forks without the hazards of a process
that has some. It reads orders, waits for children, and nothing else. It does not
listen to the terminal's signals, nor to those of whoever stops the worker: its one reason
to end is the end of the reins, by whatever death of the worker. Then it has every tree
killed, waits until no process is left, and goes.

Rejected: PR_SET_PDEATHSIG, which fires when the thread that forked ends, and which no
grandchild inherits.
"""

import errno
import gc
import os
import signal
import socket
import struct
from typing import Protocol

from airunner.worker.keeper.cgroup import Leaves
from airunner.worker.keeper.child import DEAF_TO, Parts, report
from airunner.worker.keeper.leaf import claim, own_group
from airunner.worker.keeper.loop import Loop
from airunner.worker.keeper.subreaper import Subreapers, set_subreaper
from airunner.worker.keeper.words import (
    AUTO,
    BROKEN,
    CGROUP,
    DESCRIPTORS,
    READY,
    REFUSED,
    SUBREAPER,
    WORD_BYTES_MAX,
)

_INT = struct.Struct("i")


class Trees(Protocol):
    """One way to keep a job's processes together; cgroup.py and subreaper.py are two."""

    @property
    def empty(self) -> bool:
        """Whether no job has a process left."""
        ...

    def launch(self, number: int, parts: Parts) -> None:
        """Fork a job, and own its channel from then on. Raises OSError."""
        ...

    def ended(self, pid: int, status: int) -> None:
        """Note the end of a child."""
        ...

    def end(self) -> None:
        """Kill every job."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


class Keeper:
    """Takes orders from the reins until their end."""

    def __init__(self, reins: socket.socket, loop: Loop, trees: Trees) -> None:
        self._reins = reins
        self._loop = loop
        self._trees = trees
        self._held = True

    def run(self) -> None:
        """Serve the worker; return when it is gone, and with it every process of every job."""
        self._loop.watch_children(self._trees.ended)
        self._loop.watch(self._reins.fileno(), self._order)
        while self._held or not self._trees.empty:
            self._loop.turn()
        self._trees.close()

    def _order(self) -> None:
        try:
            word, descriptors = _receive(self._reins)
        except BlockingIOError:
            return
        except OSError:
            word, descriptors = b"", []
        if not word:
            self._held = False
            self._loop.unwatch(self._reins.fileno())
            self._trees.end()
        elif len(descriptors) == DESCRIPTORS:
            self._launch(int(word), Parts(descriptors))
        else:  # no room for the rest, which the kernel has closed; the worker hears of it
            for each in descriptors:
                os.close(each)

    def _launch(self, number: int, parts: Parts) -> None:
        try:
            self._trees.launch(number, parts)
        except OSError as error:
            report(parts.status, BROKEN, error.errno or 0, os.fsencode(error.filename or b""))
            parts.close()
            os.close(parts.channel)


def _receive(reins: socket.socket) -> tuple[bytes, list[int]]:
    """An order and its descriptors; socket.recv_fds drops its flags, close-on-exec among them."""
    room = socket.CMSG_SPACE(DESCRIPTORS * _INT.size)
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    word, parts, _, _ = reins.recvmsg(WORD_BYTES_MAX, room, flags)
    descriptors: list[int] = []
    for level, type, data in parts:
        assert (level, type) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        whole = len(data) - len(data) % _INT.size
        descriptors += [number for (number,) in _INT.iter_unpack(data[:whole])]
    return word, descriptors


def main(kind: str) -> None:
    """Be the keeper of the worker that holds the other end of standard input."""
    reins = socket.socket(fileno=os.dup(0))
    os.dup2(1, 0)  # standard output is /dev/null or the lifeline, of which nobody reads
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in (*DEAF_TO, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()  # what is here is here to stay: no child copies a page only to look at it
    loop = Loop()
    try:
        trees, word = _choose(kind, loop)
    except OSError as error:
        why = f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)
        reins.send(b"%b %b" % (REFUSED, os.fsencode(why)))
        return
    reins.send(b"%b %b" % (READY, word.encode()))
    Keeper(reins, loop, trees).run()


def _choose(kind: str, loop: Loop) -> tuple[Trees, str]:
    """The trees of this kind; with AUTO, control groups where the worker may make them."""
    set_subreaper()  # orphans come here, to be reaped at least
    if kind in (AUTO, CGROUP):
        group = own_group()
        folder = claim(group) if group else None
        if folder:
            return Leaves(loop, folder), f"{CGROUP} {folder.path}"
        if kind == CGROUP:
            raise OSError(errno.EACCES, "no control group of version 2 is writable", group)
    return Subreapers(loop), SUBREAPER
