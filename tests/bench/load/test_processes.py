"""Processes that the bench starts end with the bench."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cli.conftest import PATIENCE, Shell

STARTER: Final = """
import asyncio, os, sys
from airunner.bench.load.processes import running

async def main():
    async with running(sys.argv[1:], "listening", os.environ) as (process, _):
        print(process.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_the_bench_however_that_ends(
    tmp_path: Path, how: signal.Signals
) -> None:
    shell = Shell(tmp_path)
    shell.run("certs", "--dir", str(tmp_path))
    arguments = ["server", "--listen", "127.0.0.1:0", "--no-auth", "--log-format", "json"]
    arguments += ["--store", "memory", "--tls-cert", str(tmp_path / "server.pem")]
    arguments += ["--tls-key", str(tmp_path / "server-key.pem")]
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, *arguments],
        env=shell.environment,
        stdout=subprocess.PIPE,
    ) as starter:
        assert starter.stdout
        server = os.pidfd_open(int(starter.stdout.readline()))
        try:
            starter.send_signal(how)
            ended, _, _ = select.select([server], [], [], PATIENCE)
            assert ended
        finally:
            os.close(server)
