"""Attacks on the disk of one worker: it fills up for a while, dies, or loses its power.

The disk holds the worker's spools and workspaces, neither of which is synchronized. A worker must go on
while its disk is full or dead and give back the jobs that it cannot begin, unless it has not begun
itself; after a power cut its successor must make do with any part of its files.
"""

import asyncio
import signal
import subprocess
from collections.abc import Callable
from random import Random
from typing import Final

from tests.rounds.clients import Clients
from tests.support.disk import Disk
from tests.support.installation import Process

FULL_DISK, DEAD_DISK, POWER_CUT = "full worker disk", "dead worker disk", "worker power cut"
WORKER_DISK_DEEDS: Final = {FULL_DISK: 2, DEAD_DISK: 2, POWER_CUT: 3}

RENEWALS_MAX: Final = 100  # tries to unmount the disk, while processes of the dead worker end
_AWAY: Final = (0.3, 0.5, 2.0, 4.0)  # seconds; the last is longer than a lease


class WorkerDiskAttacks:
    """The attacks on a worker's disk, each with the recovery from it."""

    def __init__(self, disk: Disk, clients: Clients, hire: Callable[[], Process]) -> None:
        self._disk = disk
        self._clients = clients
        self._hire = hire

    async def run(self, deed: str, worker: Process, dice: Random) -> Process:
        """Does an attack of WORKER_DISK_DEEDS; returns the worker that then runs on a sound disk."""
        away, number = dice.choice(_AWAY), dice.choice((signal.SIGTERM, signal.SIGKILL))
        if deed == FULL_DISK:
            self._disk.fill(0)
            await self._clients.pause(away)
            self._disk.free()
            return self._hire() if self._has_ended(worker) else worker
        self._disk.cut()
        if deed == DEAD_DISK:
            await self._clients.pause(away)
            self._has_ended(worker)
        worker.signal(number if deed == DEAD_DISK else signal.SIGKILL)
        await asyncio.to_thread(worker.wait)
        await self._renew()
        return self._hire()

    def _has_ended(self, worker: Process) -> bool:
        """True if the worker has ended, which it may only do before it has begun."""
        ended = worker.popen.poll() is not None
        if ended and any('"connected"' in line for line in worker.journal):
            last = "".join(worker.journal[-20:])
            self._clients.alarm(f"a worker on a full or dead disk ended by itself: {last}")
        return ended

    async def _renew(self) -> None:
        """Renews the disk as soon as no process of the dead worker has a file on it."""
        for _ in range(RENEWALS_MAX):
            try:
                return await asyncio.to_thread(self._disk.renew)
            except subprocess.CalledProcessError:
                await self._clients.breathe()
        raise AssertionError(f"{self._disk.path} is in use by processes of a dead worker")
