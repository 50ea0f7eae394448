"""A real server and a real worker, as processes of their own, for as long as a block lasts."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("airunner"))
START_SECONDS_MAX = 30


class NotStarted(Exception):
    """A process of ours ended, or said nothing, before it was ready."""


@asynccontextmanager
async def server(certs: Path, environment: Mapping[str, str]) -> AsyncIterator[str]:
    """A server without authentication on a free port of the loopback; its address."""
    arguments = [
        *("server", "--listen", "127.0.0.1:0", "--no-auth", "--log-format", "json"),
        *("--tls-cert", str(certs / "server.pem"), "--tls-key", str(certs / "server-key.pem")),
    ]
    async with running(arguments, "listening", environment) as entry:
        yield str(entry["address"])


@asynccontextmanager
async def worker(
    address: str, certs: Path, work: Path, *, slots: int, environment: Mapping[str, str]
) -> AsyncIterator[None]:
    """A worker of the default queue, connected."""
    arguments = [
        *("worker", "--server", address, "--ca-cert", str(certs / "ca.pem")),
        *("--slots", str(slots), "--work-dir", str(work), "--log-format", "json"),
    ]
    async with running(arguments, "connected", environment):
        yield


@asynccontextmanager
async def running(
    arguments: list[str], ready: str, environment: Mapping[str, str]
) -> AsyncIterator[Mapping[str, object]]:
    """An airunner command that has logged the event `ready`; that line of its log."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            entry = await _first(process.stderr, ready)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_drain(process.stderr))
            yield entry
            process.terminate()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


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
    async for _ in log:
        pass
