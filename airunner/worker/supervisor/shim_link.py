"""The worker's link to one shim: its channel, and the command that the shim runs."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from airunner.worker.supervisor import protocol
from airunner.worker.supervisor.shim_process import ShimProcess
from airunner.worker.supervisor.trees.cgroup import Cgroup
from airunner.worker.supervisor.waits import CgroupRemoval


class ShimOwner(Protocol):
    """The owner of the links."""

    def shim_idle(self, link: "ShimLink") -> None:
        """Takes back a shim that can run another command."""
        ...

    def kill_shim(self, link: "ShimLink") -> None:
        """Has a shim that does not answer killed, and every process below it."""
        ...

    def when_orphans_gone(self, call: Callable[[], None]) -> None:
        """Calls back when no orphan of a dead supervisor is left; at once if it lives."""
        ...

    def shim_gone(self, link: "ShimLink") -> None:
        """Forgets a shim; no process of its tree is left."""
        ...


class ShimLink:
    """The link to one shim."""

    def __init__(
        self, number: int, channel: socket.socket, cgroup: Cgroup | None, owner: ShimOwner
    ) -> None:
        """`number` identifies the shim to the supervisor; `cgroup` is the shim's, if it has one."""
        self.number = number
        self.process: ShimProcess | None = None
        self.removing = False  # the tree is being killed, or what the dead shim left of it
        self.killed = False  # the shim has ended without an order to exit
        self._commands = protocol.NO_COMMAND  # the number of the last command
        self._released = False
        self._channel = channel
        self._cgroup = cgroup
        self._owner = owner
        self._gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel.fileno(), self._receive)

    def run(self, process: ShimProcess, packed: bytes) -> None:
        """Orders the shim to start a command. Releases the shim and raises OSError if it cannot."""
        self._commands += 1
        try:
            with _run_order(self._commands, packed, process.streams) as (message, descriptors):
                socket.send_fds(self._channel, [message], descriptors, socket.MSG_NOSIGNAL)
        except OSError:
            self.release()
            raise
        self.process = process
        process.link = self

    def term(self) -> None:
        """Orders the shim to send SIGTERM to every process of the present command's tree."""
        protocol.send(self._channel, b"%b %d" % (protocol.TERM, self._commands))

    def kill(self) -> None:
        """Orders the shim to kill the present command's tree."""
        self.removing = True
        protocol.send(self._channel, b"%b %d" % (protocol.KILL, self._commands))

    def kill_shim(self) -> None:
        """Has the shim killed with the tree."""
        if self._cgroup:
            self._cgroup.kill()
        self._owner.kill_shim(self)

    def release(self) -> None:
        """Orders the shim to kill its tree, if any, and to exit."""
        self._released = True
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    async def ended(self) -> None:
        """Returns when the shim and every process of its tree are gone."""
        await self._gone.wait()

    def _receive(self) -> None:
        """Handles the messages that have arrived."""
        while (message := protocol.receive(self._channel)) is not None:
            if not message:
                self._channel_ended()
                return
            verb, number, *rest = message.split(b" ", 2)
            if self.process and int(number) in (self._commands, protocol.NO_COMMAND):
                over = self.process.handle(verb, b"".join(rest))
                if over and int(number) == self._commands:  # else the shim was never started
                    self._idle()

    def _idle(self) -> None:
        if self.process:
            self.process.link = None
        self.process = None
        self.removing = False
        self._owner.shim_idle(self)

    def _channel_ended(self) -> None:
        """Kills the rest of the tree: the supervisor, if dead as well, cannot do it."""
        self.killed = not (self._released or (self.process and self.process.exit_known))
        self.removing = True
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        if self._cgroup:
            CgroupRemoval(self._cgroup, self._cgroup_removed)
        else:
            self._cgroup_removed()

    def _cgroup_removed(self) -> None:
        if self._released or self.process is None:
            self._end()
        else:
            self._owner.when_orphans_gone(self._end)

    def _end(self) -> None:
        if self.process:
            self.process.tree_gone()
        self._gone.set()
        self._owner.shim_gone(self)


@contextlib.contextmanager
def _run_order(
    number: int, packed: bytes, streams: Sequence[int]
) -> Iterator[tuple[bytes, Sequence[int]]]:
    """The RUN message of a command, and its descriptors. Raises OSError."""
    if len(packed) <= protocol.COMMAND_BYTES_MAX:
        yield b"%b %d %d %b" % (protocol.RUN, number, len(streams), packed), streams
        return
    descriptor = os.memfd_create("airunner-command", os.MFD_CLOEXEC)
    try:
        view = memoryview(packed)
        while view:
            view = view[os.write(descriptor, view) :]
        descriptors = (*streams, descriptor)
        yield b"%b %d %d " % (protocol.RUN, number, len(descriptors)), descriptors
    finally:
        os.close(descriptor)
