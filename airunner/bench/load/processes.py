"""Real servers and workers in processes of their own, for the length of a block."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airunner.bench.setting import Setting, Store

COMMAND: Final = str(Path(sys.executable).with_name("airunner"))
START_SECONDS_MAX: Final = 120
ANY_PORT: Final = "127.0.0.1:0"
_PIECE_BYTES: Final = 64 * 1024


class NotStarted(Exception):
    """An airunner process ended before it was ready, or a command failed."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    address: str
    process: Process

    @property
    def pid(self) -> int:
        return self.process.pid


@asynccontextmanager
async def server(
    setting: Setting, store: Store, *options: str, listen: str = ANY_PORT
) -> AsyncIterator[Served]:
    """Runs a server without authentication on the loopback."""
    arguments = [
        *("server", "--listen", listen, "--no-auth", "--log-format", "json"),
        *("--tls-cert", str(setting.certs / "server.pem")),
        *("--tls-key", str(setting.certs / "server-key.pem")),
        *store.arguments(),
        *options,
    ]
    async with running(arguments, "listening", setting.environment) as (process, entry):
        yield Served(str(entry["address"]), process)


@asynccontextmanager
async def worker(
    setting: Setting, address: str, *, slots: int | None = None, sources: Path | None = None
) -> AsyncIterator[None]:
    """Runs a connected worker of the default queue. `sources` is its --jobs-dir."""
    work = setting.folder / f"work-{address.rpartition(':')[2]}"
    work.mkdir(mode=0o700)
    arguments = [
        *("worker", "--server", address, "--ca-cert", str(setting.certs / "ca.pem")),
        *("--slots", str(slots or setting.slots), "--work-dir", str(work)),
        *("--log-format", "json", "--drain-timeout", "0"),
        *(("--jobs-dir", str(sources)) if sources else ()),
    ]
    async with running(arguments, "connected", setting.environment):
        yield


async def completed(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Runs a command to its end. Raises NotStarted if the exit code is not 0."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches this process alone, which ends the command
    )
    try:
        code = await process.wait()
    finally:
        _terminate(process)
        await process.wait()
    if code:
        raise NotStarted(f"{' '.join(command)!r} exited with {code}")


@asynccontextmanager
async def running(
    arguments: list[str], ready: str, environment: Mapping[str, str]
) -> AsyncIterator[tuple[Process, Mapping[str, object]]]:
    """Runs an airunner command; yields the process and its log line of the event `ready`.

    The command ends with the block, and with this process, even if SIGKILL ends this process.
    """
    theirs, lifeline = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            COMMAND,
            *arguments,
            *("--lifeline-fd", str(theirs)),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(theirs,),
        )
    finally:
        os.close(theirs)
    assert process.stderr
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            entry = await _first(process.stderr, ready)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_drain(process.stderr))
            yield process, entry
            _terminate(process)
    finally:
        os.close(lifeline)
        _terminate(process)
        await process.wait()


def _terminate(process: Process) -> None:
    """Sends SIGTERM to a process that has not ended.

    Not through Popen: its send_signal() polls, and would take the exit status from the waiter.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


async def _first(log: asyncio.StreamReader, event: str) -> Mapping[str, object]:
    text = b""
    async for line in log:
        text += line
        if line.startswith(b"{"):
            entry: dict[str, object] = json.loads(line)
            if entry.get("event") == event:
                return entry
    raise NotStarted(text.decode(errors="replace").strip() or f"ended without logging {event!r}")


async def _drain(log: asyncio.StreamReader) -> None:
    while await log.read(_PIECE_BYTES):
        pass
