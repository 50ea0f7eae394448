"""Processes of the other queues, each on a leash, with what they say kept in a file."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airunner.bench.comparison import leashed_process

ROOT: Final = Path(__file__).parents[3]
LAST_BYTES: Final = 2_000  # of what a process said, where somebody wants to know why it ended


class Missing(Exception):
    """Something cannot be measured here, and this is why."""


@dataclass(frozen=True, slots=True)
class Leashed:
    """A program that runs, and all that it has started."""

    pid: int  # also of its session
    holder: asyncio.subprocess.Process
    log: Path

    def pause(self) -> None:
        leashed_process.send(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        leashed_process.send(self.pid, signal.SIGCONT)

    @property
    def ended(self) -> bool:
        return self.holder.returncode is not None

    def last_words(self) -> str:
        """The last line with words in it of what it said, or that it said nothing."""
        said = self.log.read_bytes()[-LAST_BYTES:].decode(errors="replace").split("\n")
        return next(
            (line.strip() for line in reversed(said) if re.search(r"\w", line)), "it said nothing"
        )


@asynccontextmanager
async def leashed(
    name: str,
    argv: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] = {},
    *,
    stop: str = "KILL",
) -> AsyncIterator[Leashed]:
    """A program, until the block ends or this process does: then `stop` ends it."""
    log = folder / f"{name}.log"
    with log.open("wb") as said:
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "airunner.bench.comparison.leashed_process", stop, *argv),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
        )
    assert holder.stdin
    assert holder.stdout
    try:
        pid = await holder.stdout.readline()
        if not pid:
            raise Missing(f"{argv[0]} cannot be run")
        yield Leashed(int(pid), holder, log)
    finally:
        holder.stdin.close()
        await holder.wait()


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_open(port: int, process: Leashed, seconds: float) -> None:
    """Return once somebody listens there; Missing if the process ends first, or never does."""
    try:
        async with asyncio.timeout(seconds):
            while not process.ended:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return
    except TimeoutError:
        pass
    raise Missing(f"it does not start: {process.last_words()}")
