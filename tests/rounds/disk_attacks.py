"""Attacks on the disk of the server: it fills up for a while, fails, dies, or loses its power.

A server must answer nothing that is not on the disk. On a full disk it waits; after any other error
it stops by itself, since the state of a file after a failed fsync is unknown.
"""

import asyncio
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from airunner.cli.exit_codes import OURS
from airunner.model.limits import MIB
from tests.rounds.clients import Clients
from tests.support.disk import Disk
from tests.support.installation import Site

FULL_DISK, POWER_CUT = "full disk", "power cut"
DEAD_DISK, FAILING_DISK = "dead disk", "failing disk"
DISK_DEEDS: Final = {FULL_DISK: 3, POWER_CUT: 4, DEAD_DISK: 2, FAILING_DISK: 2}

END_SECONDS_MAX: Final = (
    10.0  # from a disk's failure to the server's end; an idle server notices none
)
_AWAY: Final = (0.0, 0.0, 0.5, 4.0)  # seconds; the last is longer than a lease
_LEFT: Final = (0, 0, 0, 100 * MIB)  # bytes that a full disk leaves; the server wants 256 MiB


class DiskAttacks:
    """The attacks on the disk of a site's server, each with the recovery from it."""

    def __init__(
        self,
        site: Site,
        disk: Disk,
        clients: Clients,
        start_server: Callable[[], Awaitable[None]],
        counts: Counter[str],
    ) -> None:
        self._site = site
        self._disk = disk
        self._clients = clients
        self._start_server = start_server
        self._counts = counts

    async def run(self, deed: str, dice: Random) -> None:
        """Does an attack of DISK_DEEDS; returns when the server runs on a sound disk again."""
        away, left, second = dice.choice(_AWAY), dice.choice(_LEFT), dice.choice((True, False))
        if deed == FULL_DISK:
            await self._fill(away, left, kill=second)
            return
        if deed == FAILING_DISK:
            self._disk.lose_medium()
        else:
            self._disk.cut(flush=deed == DEAD_DISK and second)
        await self._end_server(kill=deed == POWER_CUT)
        await asyncio.to_thread(self._disk.renew)
        await self._clients.pause(away)
        await self._start_server()

    async def _fill(self, away: float, left: int, *, kill: bool) -> None:
        """Leaves `left` bytes free for a while, and with `kill` kills the server before there is room."""
        self._disk.fill(left)
        await self._clients.pause(max(away, 0.3))
        if kill:
            await self._end_server(kill=True)
        self._disk.free()
        if kill:
            await self._start_server()

    async def _end_server(self, *, kill: bool) -> None:
        """Kills the server, or waits until it has noticed that its disk has failed."""
        server = self._site.server
        assert server
        if not kill:
            try:
                code = await asyncio.to_thread(server.wait, END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._counts["failed disk unnoticed"] += 1
            else:
                self._counts["stopped by itself"] += 1
                if code != OURS:
                    last = "".join(server.journal[-20:])
                    self._clients.alarm(f"the server on a failed disk ended with {code}: {last}")
                return
        server.signal(signal.SIGKILL)
        await asyncio.to_thread(server.wait)
