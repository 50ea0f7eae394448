"""The worker's watch over its supervisor, and the killing of all trees once the supervisor fails.

A job runs as the worker's user, so it may stop or kill the supervisor and its own shim. Rules:

1. The worker lets the supervisor continue (SIGCONT) with each order, and every second until the
   supervisor has answered the `ping` behind the order.
2. A supervisor that does not answer for ANSWER_SECONDS_MAX while a tree must die is killed with every
   process below it. A slow start of a command is no such reason. Only the answer to the ping of that
   tree, or to a later ping, counts: a busy worker sends more pings than the supervisor has answered.
3. The death of the supervisor is seen at once, also by an idle worker. All trees of the worker are
   killed then: by control group if there is one, and by descent. The worker is a subreaper, so the
   orphans of a killed supervisor become its children.
4. A shim's channel ends either because the supervisor has killed the rest of the shim's tree, or
   because the supervisor dies. Its answer to one more ping, or its death, tells which. A supervisor
   that does neither for ANSWER_SECONDS_MAX is stopped by a job, and not dying: it lives.

Rejected: a second supervisor for the commands to come. The job that killed the first kills it too,
and a worker that ends gives its jobs back at once and starts again (cli/processes/worker_process.py).
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from airunner.worker.supervisor import protocol
from airunner.worker.supervisor.trees.cgroup import Cgroup
from airunner.worker.supervisor.trees.subreaper_tree import children, kill_below

ANSWER_SECONDS_MAX: Final = 5.0  # for a supervisor that must kill
ORPHAN_SECONDS_MAX: Final = 5.0  # in which the orphans of a dead supervisor must die
_RESUME_SECONDS: Final = 1.0  # between two SIGCONT
_SWEEP_SECONDS: Final = 0.02  # between two searches for orphans, while they die


class _Unanswered(NamedTuple):
    """A ping for whose answer something waits."""

    number: int
    overdue_at: float  # the loop's time
    call: Callable[[], None] | None  # at the answer; None: a tree must die


class SupervisorGuard:
    """The watch over one supervisor process, used within one event loop."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        control: socket.socket,
        cgroup: Cgroup | None,
        answer_seconds: float = ANSWER_SECONDS_MAX,
    ) -> None:
        self._process = process
        self._control = control
        self._cgroup = cgroup
        self._answer_seconds = answer_seconds
        self._older = children(os.getpid()) - {process.pid}  # of the program that has started it
        self._pings = 0  # the number of the last ping
        self._unanswered: deque[_Unanswered] = deque()  # the oldest first
        self._tick: asyncio.TimerHandle | None = None
        self._watching = False
        self._pidfd: int | None = None
        self._swept = False  # the supervisor is dead, and no orphan is left
        self._waiting: list[Callable[[], None]] = []  # for the end of the orphans

    def watch(self, died: Callable[[], None], gone: Callable[[], None]) -> None:
        """Calls `died` at the death of the supervisor, and `gone` when no orphan of it is left."""
        if self._watching:
            return
        self._watching = True
        loop = asyncio.get_running_loop()
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except ProcessLookupError:  # it was dead before, and poll() has said so
            loop.call_soon(self._died, died, gone)
            return
        loop.add_reader(self._pidfd, self._died, died, gone)
        loop.add_reader(self._control.fileno(), self._receive)

    def send(self, message: bytes) -> bool:
        """Sends an order, and lets a stopped supervisor continue; False: there is no room now."""
        self._resume()
        try:
            self._control.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:  # the supervisor is dead, as the watch has seen or will see
            return True
        return True

    def demand_answer(self, *, urgent: bool) -> None:
        """Lets the supervisor continue until it has executed all orders so far.

        `urgent`: a tree must die, and so must the supervisor if it does not answer in time.
        """
        self._pings += 1
        if urgent:
            self._expect(None)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_RESUME_SECONDS, self._demand_again)
        self._ping()

    def close_control(self, died: Callable[[], None], gone: Callable[[], None]) -> None:
        """Closes the control socket, which ends the supervisor. Safe to call twice."""
        self.watch(died, gone)
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
        if not self._swept:
            self.demand_answer(urgent=True)

    def when_orphans_gone(self, call: Callable[[], None]) -> None:
        """As ShimOwner.when_orphans_gone."""
        if self._swept:
            asyncio.get_running_loop().call_soon(call)
        elif self._process.returncode is not None:
            self._waiting.append(call)
        else:
            self.demand_answer(urgent=False)
            self._expect(call)

    # The supervisor lives

    def _receive(self) -> None:
        while (message := protocol.receive(self._control)) is not None:
            if not message:
                asyncio.get_running_loop().remove_reader(self._control.fileno())
                return
            verb, number = message.split()
            if verb == protocol.PONG:
                self._answered(int(number))

    def _answered(self, number: int) -> None:
        """Takes the answer to a ping, which answers all pings before it, too."""
        if number == self._pings:
            self._stop_ticks()
        while self._unanswered and self._unanswered[0].number <= number:
            if call := self._unanswered.popleft().call:
                call()

    def _expect(self, call: Callable[[], None] | None) -> None:
        overdue_at = asyncio.get_running_loop().time() + self._answer_seconds
        self._unanswered.append(_Unanswered(self._pings, overdue_at, call))

    def _demand_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._tick = loop.call_later(_RESUME_SECONDS, self._demand_again)
        while self._unanswered and loop.time() >= self._unanswered[0].overdue_at:
            if (call := self._unanswered[0].call) is None:
                self._kill()
                return
            self._unanswered.popleft()
            call()
        self._ping()

    def _ping(self) -> None:
        self.send(b"%b %d" % (protocol.PING, self._pings))

    def _resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _kill(self) -> None:
        """Kills the supervisor and every process below it."""
        self._kill_cgroups()
        if self._process.poll() is None:
            kill_below(self._process.pid)
            self._process.kill()

    def _stop_ticks(self) -> None:
        if self._tick:
            self._tick.cancel()
            self._tick = None

    # The supervisor is dead

    def _died(self, died: Callable[[], None], gone: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._stop_ticks()
        if self._pidfd is not None:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        if self._control.fileno() >= 0:
            loop.remove_reader(self._control.fileno())
        self._process.wait()
        died()
        self._waiting.append(gone)
        self._waiting.extend(each.call for each in self._unanswered if each.call)
        self._unanswered.clear()
        self._kill_orphans(loop.time() + ORPHAN_SECONDS_MAX)

    def _kill_orphans(self, until: float) -> None:
        """Kills all processes that the dead supervisor has left to this process, its subreaper."""
        loop = asyncio.get_running_loop()
        self._kill_cgroups()
        spared = self._older | children(os.getpid(), session=os.getsid(0))
        if kill_below(os.getpid(), spared) and loop.time() < until:
            loop.call_later(_SWEEP_SECONDS, self._kill_orphans, until)
            return
        for pid in children(os.getpid()) - spared:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._swept = True
        while self._waiting:
            self._waiting.pop(0)()

    def _kill_cgroups(self) -> None:
        if self._cgroup:
            with suppress(OSError):
                self._cgroup.kill()
