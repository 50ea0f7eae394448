"""The supervisor process: small, single-threaded, the parent of a worker's shims.

The worker starts the supervisor before it starts any thread, so the supervisor can fork safely. It
reads orders from the control socket, reaps children, and kills the trees of a worker that has not
renewed their deadlines; it does nothing else. It ignores every signal that
can be ignored but the faults, and no process of the same user may trace it. It ends for one reason: the end of
the control socket, by any death of the worker. Then it has every tree killed, waits until no process
is left, and exits.

Rejected: PR_SET_PDEATHSIG, which fires when the thread that forked ends, and which no grandchild
inherits.
"""

import errno
import gc
import os
import signal
import socket

from airunner.worker.supervisor.deadlines import Deadlines
from airunner.worker.supervisor.loop import Loop
from airunner.worker.supervisor.protocol import (
    BROKEN,
    CGROUP,
    KILL,
    MESSAGE_BYTES_MAX,
    NO_COMMAND,
    PING,
    PONG,
    READY,
    REFUSED,
    SHIM,
    SUBREAPER,
    UNTIL,
    failed,
    receive_with_descriptors,
    send,
)
from airunner.worker.supervisor.shims import Shims
from airunner.worker.supervisor.spawn import IGNORED_SIGNALS
from airunner.worker.supervisor.trees.cgroup import Cgroup, claim, own_group
from airunner.worker.supervisor.trees.prctl import forbid_tracing, set_subreaper


class SupervisorProcess:
    """Executes the orders of the control socket until its end."""

    def __init__(self, control: socket.socket, shims: Shims) -> None:
        self._control = control
        self._loop = Loop()
        self._shims = shims
        self._deadlines = Deadlines()
        self._worker_lives = True

    def run(self) -> None:
        """Serves the worker; returns when the worker and every process of every job are gone."""
        self._loop.watch_children(self._shims.children_ended)
        self._loop.watch(self._control.fileno(), self._handle_order)
        while self._worker_lives or not self._shims.empty:
            self._loop.run_once(self._deadlines.milliseconds_left())
            for number in self._deadlines.take_expired():
                self._shims.kill(number)
        self._shims.close()

    def _handle_order(self) -> None:
        if (received := receive_with_descriptors(self._control, MESSAGE_BYTES_MAX)) is None:
            return
        message, descriptors = received
        if not message:
            self._worker_lives = False
            self._loop.unwatch(self._control.fileno())
            self._shims.kill_all()
            return
        match message.split():
            case [verb, number] if verb == SHIM and descriptors:
                self._start_shim(int(number), descriptors[0])
            case [verb, number] if verb == KILL:
                self._shims.kill(int(number))
            case [verb, number] if verb == PING:
                send(self._control, b"%b %b" % (PONG, number))
            case [verb, *pairs] if verb == UNTIL:
                for number, at in zip(pairs[::2], pairs[1::2], strict=True):
                    self._deadlines.set(int(number), int(at))
            # Else this process had no room for a channel, and the worker has seen the channel's end.

    def _start_shim(self, number: int, channel: int) -> None:
        try:
            self._shims.start_shim(number, channel)
        except OSError as error:
            path = os.fsencode(error.filename or b"")
            with socket.socket(fileno=channel) as peer:
                peer.send(failed(NO_COMMAND, BROKEN, error.errno or 0, path))


def main(kind: str) -> None:
    """Runs the supervisor of the worker that holds the other end of standard input."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(1, 0)  # standard output is /dev/null or the lifeline, which nobody reads
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()  # the present objects stay for ever: no child copies a page to look at them
    try:
        forbid_tracing()
        cgroup = _choose(kind)
    except OSError as error:
        why = f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)
        control.send(b"%b %b" % (REFUSED, os.fsencode(why)))
        return
    chosen = f"{CGROUP} {cgroup.path}" if cgroup else SUBREAPER
    control.send(b"%b %b" % (READY, chosen.encode()))
    SupervisorProcess(control, Shims(cgroup)).run()


def _choose(kind: str) -> Cgroup | None:
    """The supervisor's own cgroup; with AUTO, None if the worker may not create cgroups."""
    set_subreaper()  # orphans of a killed shim become children of the supervisor
    if kind == SUBREAPER:
        return None
    group = own_group()
    cgroup = claim(group) if group else None
    if not cgroup and kind == CGROUP:
        raise OSError(errno.EACCES, "no control group of version 2 is writable", group)
    return cgroup
