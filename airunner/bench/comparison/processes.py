"""Processes of the other queues: each ends with this process and writes its output to a file."""

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

from airunner.bench.comparison import lifeline

ROOT: Final = Path(__file__).parents[3]
LAST_BYTES: Final = 2_000  # of a process's output, to explain its end


class Missing(Exception):
    """A queue cannot be measured on this machine; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ManagedProcess:
    """A running program with its session of processes."""

    pid: int  # also the id of its session
    wrapper: asyncio.subprocess.Process  # the process of lifeline.py
    log: Path

    def pause(self) -> None:
        lifeline.send(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        lifeline.send(self.pid, signal.SIGCONT)

    @property
    def ended(self) -> bool:
        return self.wrapper.returncode is not None

    def last_line(self) -> str:
        """The last line with a word in the program's output, or a note that there is none."""
        lines = self.log.read_bytes()[-LAST_BYTES:].decode(errors="replace").split("\n")
        return next(
            (line.strip() for line in reversed(lines) if re.search(r"\w", line)), "no output"
        )


@asynccontextmanager
async def managed_process(
    name: str,
    argv: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] = {},
    *,
    stop: str = "KILL",
) -> AsyncIterator[ManagedProcess]:
    """Runs a program until the block or this process ends; then the signal `stop` ends it."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        wrapper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "airunner.bench.comparison.lifeline", stop, *argv),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
        )
    assert wrapper.stdin
    assert wrapper.stdout
    try:
        pid = await wrapper.stdout.readline()
        if not pid:
            raise Missing(f"{argv[0]} cannot be run")
        yield ManagedProcess(int(pid), wrapper, log)
    finally:
        wrapper.stdin.close()
        await wrapper.wait()


def free_port() -> int:
    """A free port of the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_open(port: int, process: ManagedProcess, seconds: float) -> None:
    """Waits until the port is open. Raises Missing if the process ends first or time is up."""
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
    raise Missing(f"the process does not start: {process.last_line()}")
