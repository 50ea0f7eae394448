"""The server and the worker of `airunner up`: two child processes, stopped in order.

Both children run `airunner` in a process group of their own. So Ctrl-C at the terminal reaches only
the parent, which stops the worker before the server, since the worker reports to the server. If a
child dies, the parent stops the other child and exits with the exit code of the first. If the parent
is killed, each child sees the end of its lifeline (lifeline.py). The parent holds the worker's
lifeline; the parent and the worker hold the server's, so the server outlives the worker here too.

The folder (0700) has these files, made by the first start and used by later starts:

    ca.pem, server.pem ...      certificates
    signing.pem, public.pem     the key pair
    token, worker.token         for the commands of this user, and for the worker; new at each start
    server.toml                 the connection settings, while the server runs
    jobs.db                     the jobs and their output, unless --store names another file
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from airunner.cli.exit_codes import OURS
from airunner.cli.processes.certificates import certificates_hold, make_certificates
from airunner.cli.processes.key_pair import PUBLIC, SIGNING, key_text, make_keys
from airunner.cli.processes.private_files import make_private_folder, write_private
from airunner.cli.processes.signals import on_stop_signals
from airunner.cli.render.streams import note
from airunner.cli.render.terminal_text import printable
from airunner.server.auth import sign_token
from airunner.server.policy import Role

TOKEN_SECONDS: Final = 365 * 86_400
_ENTRY: Final = "from airunner.cli.main import main; main()"


def prepare(folder: Path) -> None:
    """Makes missing files, replaces certificates that expire, and writes new tokens."""
    make_private_folder(folder)
    if not certificates_hold(folder):
        make_certificates(folder, force=True)
    if not ((folder / SIGNING).exists() and (folder / PUBLIC).exists()):
        make_keys(folder, force=True)
    signing = key_text(folder / SIGNING, "JWT_SIGNING_KEY")
    for file, subject, role in (
        ("token", printable(os.environ.get("USER", "")) or "me", Role.ADMIN),
        ("worker.token", "embedded-worker", Role.WORKER),
    ):
        token = sign_token(signing, subject, roles=[role], seconds=TOKEN_SECONDS)
        write_private(folder / file, token.encode())


async def run_both(folder: Path, server: Sequence[str], worker: Sequence[str]) -> int:
    """Runs server and worker until a signal or until either ends, and returns the exit code."""
    signals = asyncio.Event()
    children: list[asyncio.subprocess.Process] = []

    def kill_jobs() -> None:
        if len(children) == 2:
            _signal(children[1])  # a second signal makes the worker kill its jobs

    on_stop_signals(signals.set, kill_jobs)
    lifeline = os.pipe()
    listening, address = await _start_server(folder, server, lifeline[0])
    os.close(lifeline[0])
    children.append(listening)
    if not address:
        return await listening.wait() or OURS
    connection = {"server": address, "ca_cert": str(folder / "ca.pem")}
    connection["token_file"] = str(folder / "token")
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in connection.items())
    lines += f"# while process {os.getpid()} runs\n"
    where = folder / "server.toml"
    write_private(where, lines.encode())
    try:
        children.append(await _start_worker(folder, address, worker, listening.pid, lifeline[1]))
        note(f"ready at {address}; try `airunner submit -- echo hello` in another terminal")
        return await _wait(children[1], listening, signals)
    finally:
        if where.exists() and where.read_text(encoding="utf-8") == lines:
            where.unlink()  # unless another `up` has started meanwhile and written its own file


async def _wait(
    worker: asyncio.subprocess.Process,
    server: asyncio.subprocess.Process,
    signals: asyncio.Event,
) -> int:
    """Waits until a child ends or a signal comes, then stops the worker before the server."""
    async with asyncio.TaskGroup() as tasks:
        ends = [
            tasks.create_task(server.wait()),
            tasks.create_task(worker.wait()),
            tasks.create_task(signals.wait()),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        ends[2].cancel()
        early = next((child.returncode for child in (server, worker) if _over(child)), None)
        if _over(server) and not _over(worker):
            note(
                "the server has ended: the worker ends its jobs, and `airunner up` may start again"
            )
        for child, end in ((worker, ends[1]), (server, ends[0])):
            _signal(child)
            await end
    if early is None:  # a signal stopped both; a child without its handler yet has died of SIGTERM
        codes = [child.returncode or 0 for child in (worker, server)]
        early = next((code for code in codes if code not in (0, -signal.SIGTERM)), 0)
    return early if early >= 0 else 128 - early


async def _start_server(
    folder: Path, options: Sequence[str], lifeline: int
) -> tuple[asyncio.subprocess.Process, str]:
    """Starts the server, and waits for its address; "" if the server ended before it listened."""
    tls = ["--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server-key.pem")]
    reading, writing = os.pipe()
    flags = ["--jwt-public-key-file", str(folder / PUBLIC)]
    flags += ["--ready-fd", str(writing), "--lifeline-fd", str(lifeline)]
    process = await _start(
        ["server", *options, *tls, *flags], group=0, descriptors=(writing, lifeline)
    )
    os.close(writing)
    reader = asyncio.StreamReader()
    with os.fdopen(reading, "rb") as pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        address = (await reader.readline()).decode().strip()
        transport.close()
    return process, address


async def _start_worker(
    folder: Path, address: str, options: Sequence[str], group: int, server_lifeline: int
) -> asyncio.subprocess.Process:
    """Starts the worker. `server_lifeline`: a write end, which the worker holds with the parent."""
    trust = ["--ca-cert", str(folder / "ca.pem"), "--token-file", str(folder / "worker.token")]
    where = ["--server", address, "--work-dir", str(folder / "work")]
    lifeline, _ = os.pipe()  # the write end closes when the parent ends
    command = ["worker", *where, *trust, "--lifeline-fd", str(lifeline)]
    command += ["--allow-local-repositories", *options]
    # The server is on this machine, so the worker goes around a proxy whatever the host's name is.
    direct = {"no_grpc_proxy": "*"}
    process = await _start(
        command, group=group, descriptors=(lifeline, server_lifeline), variables=direct
    )
    os.close(lifeline)
    return process


async def _start(
    words: Sequence[str],
    *,
    group: int,
    descriptors: tuple[int, ...],
    variables: Mapping[str, str] = {},
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-c", _ENTRY, *words),
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, **variables},
        process_group=group,
        pass_fds=descriptors,
    )


def _signal(child: asyncio.subprocess.Process) -> None:
    if not _over(child):
        child.send_signal(signal.SIGTERM)


def _over(child: asyncio.subprocess.Process) -> bool:
    return child.returncode is not None
