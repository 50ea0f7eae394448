"""Waits for descriptors and for empty cgroups in asyncio, without a thread."""

import asyncio
import os
import select
from collections.abc import Callable

from airunner.worker.supervisor.trees.cgroup import Cgroup, populated


async def writable(descriptor: int) -> None:
    """Returns when the descriptor can be written without waiting."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(descriptor, _set, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


class CgroupRemoval:
    """Kills the processes of a cgroup, removes it when it is empty, and calls `done`.

    The file cgroup.events is always readable and announces a change as POLLPRI only, which asyncio
    does not support. So asyncio watches an epoll descriptor, which watches the file.
    """

    def __init__(self, cgroup: Cgroup, done: Callable[[], None]) -> None:
        self._cgroup = cgroup
        self._done = done
        self._loop = asyncio.get_running_loop()
        try:
            self._events = cgroup.open_events()
        except OSError:  # the supervisor had removed it, or never made it
            done()
            return
        self._epoll = select.epoll()
        self._epoll.register(self._events, select.EPOLLPRI)
        self._loop.add_reader(self._epoll.fileno(), self._check)
        self._check()

    def _check(self) -> None:
        self._epoll.poll(0)
        if populated(self._events):
            self._cgroup.kill()
            return
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        os.close(self._events)
        self._cgroup.remove()
        self._done()


async def remove_cgroup(cgroup: Cgroup) -> None:
    """Kills the processes of a cgroup; returns when it is empty and removed."""
    removed = asyncio.Event()
    CgroupRemoval(cgroup, removed.set)
    await removed.wait()


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
