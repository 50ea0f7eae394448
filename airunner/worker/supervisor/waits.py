"""Waiting for descriptors in asyncio, once, without a thread."""

import asyncio
import os
import select
from collections.abc import Callable

from airunner.worker.supervisor.cgroup import Cgroup, populated


async def readable(descriptor: int) -> None:
    """Return when the descriptor can be read without waiting."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def writable(descriptor: int) -> None:
    """Return when the descriptor can be written without waiting."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(descriptor, _set, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


class CgroupRemoval:
    """Kills a leaf from the worker's side, and calls when it is empty and removed.

    The file to watch is always readable and has news only as POLLPRI, of which asyncio knows
    nothing; an epoll of its own stands between the two.
    """

    def __init__(self, leaf: Cgroup, done: Callable[[], None]) -> None:
        self._leaf = leaf
        self._done = done
        self._loop = asyncio.get_running_loop()
        try:
            self._events = leaf.open_events()
        except OSError:  # the supervisor had removed it, or never made it
            done()
            return
        self._news = select.epoll()
        self._news.register(self._events, select.EPOLLPRI)
        self._loop.add_reader(self._news.fileno(), self._look)
        self._look()

    def _look(self) -> None:
        self._news.poll(0)
        if populated(self._events):
            self._leaf.kill()
            return
        self._loop.remove_reader(self._news.fileno())
        self._news.close()
        os.close(self._events)
        self._leaf.remove()
        self._done()


async def removed(leaf: Cgroup) -> None:
    """Kill what is in a leaf, and return when it is empty and removed."""
    over = asyncio.Event()
    CgroupRemoval(leaf, over.set)
    await over.wait()


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
