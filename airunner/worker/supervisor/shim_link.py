"""The worker's end of a shim's channel, and the command that the shim runs, if any."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Protocol

from airunner.worker.supervisor import protocol
from airunner.worker.supervisor.cgroup import Cgroup
from airunner.worker.supervisor.shim_process import ShimProcess
from airunner.worker.supervisor.waits import CgroupRemoval


class ShimOwner(Protocol):
    """Whoever holds the links."""

    def freed(self, link: "ShimLink") -> None:
        """Its shim can run another command."""
        ...

    def dismiss(self, link: "ShimLink") -> None:
        """Have its shim and all below it killed: it does not answer."""
        ...

    def over(self, link: "ShimLink") -> None:
        """Its shim is gone, and every process of its tree."""
        ...


class ShimLink:
    """One shim."""

    def __init__(
        self, number: int, channel: socket.socket, leaf: Cgroup | None, holder: ShimOwner
    ) -> None:
        """`leaf` is where the shim is, if it is in one; `number` is its name."""
        self.number = number
        self.kept: ShimProcess | None = None
        self._channel = channel
        self._leaf = leaf
        self._holder = holder
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel.fileno(), self._listen)

    def run(self, kept: ShimProcess, packed: bytes) -> None:
        """Have a command started. Raises OSError: then it is not, and the shim is let go."""
        try:
            with _order(packed, kept.streams) as (word, descriptors):
                socket.send_fds(self._channel, [word], descriptors, socket.MSG_NOSIGNAL)
        except OSError:
            self.release()
            raise
        self.kept = kept
        kept.link = self

    def term(self) -> None:
        """Have SIGTERM sent to all of the tree."""
        protocol.tell(self._channel, protocol.TERM)

    def kill(self) -> None:
        """Have the tree killed."""
        protocol.tell(self._channel, protocol.KILL)

    def kill_shim(self) -> None:
        """Have the shim killed with it."""
        if self._leaf:
            self._leaf.kill()
        self._holder.dismiss(self)

    def release(self) -> None:
        """Let the shim go, and kill what it runs."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    async def ended(self) -> None:
        """Return when the shim is gone, and every process of its tree."""
        await self._over.wait()

    def _listen(self) -> None:
        """Take the words that have arrived."""
        while (word := protocol.hear(self._channel)) is not None:
            if not word:
                self._lose()
                return
            if self.kept and self.kept.hear(word):
                self.kept = None
                self._holder.freed(self)

    def _lose(self) -> None:
        """The shim is gone. If its supervisor is as well, a leaf is killed from here."""
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        if self._leaf:
            CgroupRemoval(self._leaf, self._end)
        else:
            self._end()

    def _end(self) -> None:
        if self.kept:
            self.kept.over()
        self._over.set()
        self._holder.over(self)


@contextlib.contextmanager
def _order(packed: bytes, streams: Sequence[int]) -> Iterator[tuple[bytes, Sequence[int]]]:
    """A command as a message, and its descriptors. Raises OSError."""
    if len(packed) <= protocol.COMMAND_BYTES_MAX:
        yield protocol.RUN + packed, streams
        return
    descriptor = os.memfd_create("airunner-command", os.MFD_CLOEXEC)
    try:
        view = memoryview(packed)
        while view:
            view = view[os.write(descriptor, view) :]
        yield protocol.RUN, (*streams, descriptor)
    finally:
        os.close(descriptor)
