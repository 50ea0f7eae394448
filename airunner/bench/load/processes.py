"""Real servers and workers, as processes of their own, for as long as a block lasts."""

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
    """A process of ours did not come as far as it should."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens."""

    address: str
    process: Process

    @property
    def pid(self) -> int:
        return self.process.pid


@asynccontextmanager
async def server(
    setting: Setting, store: Store, *options: str, listen: str = ANY_PORT
) -> AsyncIterator[Served]:
    """A server without authentication, on the loopback."""
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
    """A worker of the default queue, connected, in a folder of its own; maybe with `sources`."""
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
    """Run a command to its end, which has to be a good one."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # so that Ctrl-C is for us alone, who end it
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
    """An airunner command that has logged the event `ready`, and that line of its log.

    It ends with the block, and with this process however that ends.
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
    """Ask it to end, unless it has.

    Not through Popen, which would look whether it has ended and take that from who waits for it.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


async def _first(log: asyncio.StreamReader, event: str) -> Mapping[str, object]:
    said = b""
    async for line in log:
        said += line
        if line.startswith(b"{"):
            entry: dict[str, object] = json.loads(line)
            if entry.get("event") == event:
                return entry
    raise NotStarted(said.decode(errors="replace").strip() or f"ended without saying {event!r}")


async def _drain(log: asyncio.StreamReader) -> None:
    while await log.read(_PIECE_BYTES):
        pass
