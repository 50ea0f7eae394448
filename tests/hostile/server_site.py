"""A server process with tokens, its memory, and a client that must not notice any attack."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from airunner.model.jobs import JobState
from airunner.model.spec import JobSpec
from airunner.server.policy import Role
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.jobs_client import JobsClient
from tests.hostile.raw_http2 import RawConnection, raw_connection
from tests.server.grpc.server_fixture import Keys
from tests.support.installation import AIRUNNER, PATIENCE, Process, Site


@dataclass
class Target:
    """A server process that is attacked."""

    site: Site
    keys: Keys

    @property
    def address(self) -> str:
        return self.site.address

    @property
    def ca(self) -> Path:
        return self.keys.certs / "ca.pem"

    @property
    def process(self) -> Process:
        assert self.site.server
        return self.site.server

    def endpoint(self, *roles: Role, subject: str = "somebody") -> Endpoint:
        token = self.keys.token(*roles, subject=subject) if roles else ""
        return Endpoint(server=self.address, ca_cert=self.ca, token=token)

    def raw(self) -> AbstractAsyncContextManager[RawConnection]:
        """A connection for a block, without any library."""
        return raw_connection(self.address, self.ca)

    def memory(self) -> int:
        """Resident bytes of the server."""
        status = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii")
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak(self) -> int:
        """Most resident bytes of the server so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = (each for each in status.splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@contextmanager
def target(
    folder: Path, keys: Keys, *, files: int | None = None, store: str = "memory"
) -> Iterator[Target]:
    """A server with tokens; `files`: the most files that it may open."""
    it = Site(folder, auth=True, store=store)
    it.certs = keys.certs
    (folder / "public.pem").write_text(keys.public, encoding="ascii")
    command = [*AIRUNNER, *it.server_command()]
    command += ["--jwt-public-key-file", str(folder / "public.pem")]
    if files:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    it.server = Process(
        subprocess.Popen(
            command, env=it.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    )
    try:
        it.address = str(it.server.said("listening")["address"])
        yield Target(it, keys)
    finally:
        it.server.stop()


class Bystander:
    """A client with a token that submits, shows and cancels a job, again and again."""

    def __init__(self, target: Target) -> None:
        self._endpoint = target.endpoint(Role.USER, subject="bystander")
        self._served = asyncio.Event()
        self.slowest = 0.0  # seconds of a call, at most

    async def run(self) -> None:
        async with JobsClient(self._endpoint) as jobs:
            while True:
                began = time.monotonic()
                id = (await jobs.enqueue(JobSpec(command="true", queue="bystander"))).id
                assert (await jobs.get(id))[0].state is JobState.SCHEDULED
                assert (await jobs.cancel(id)).state is JobState.CANCELLED
                self.slowest = max(self.slowest, time.monotonic() - began)
                self._served.set()

    async def served(self) -> None:
        """Return once it has been served anew."""
        for _ in range(2):  # the first may have begun before
            self._served.clear()
            await self._served.wait()


@asynccontextmanager
async def bystander(target: Target) -> AsyncIterator[Bystander]:
    """A bystander beside the block, which is served after it, too; its errors are the block's."""
    seen = Bystander(target)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        going = tasks.create_task(seen.run())
        await seen.served()
        seen.slowest = 0.0
        yield seen
        await seen.served()
        going.cancel()
