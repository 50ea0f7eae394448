"""A server process with tokens, its memory, and a client that must not notice any attack."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from airunner.model.jobs import JobState
from airunner.model.spec import JobSpec
from airunner.server.policy import Role
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.jobs_client import JobsClient
from tests.hostile.dose import DOSE
from tests.hostile.measured_command import longest_of, measured_command, measured_environment
from tests.hostile.raw_http2 import RawConnection, raw_connection
from tests.hostile.steps import LongestStep
from tests.server.grpc.server_fixture import Keys
from tests.support.installation import PATIENCE, Process, Site


@dataclass
class Target:
    """A server process that is attacked."""

    site: Site
    keys: Keys
    steps: Path  # the file of the server's long steps

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
    steps = folder / "steps"
    steps.touch()
    command = [*measured_command(steps), *it.server_command()]
    command += ["--jwt-public-key-file", str(folder / "public.pem")]
    if files:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    it.server = Process(
        subprocess.Popen(
            command,
            env={**it.environment, **measured_environment()},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    )
    try:
        it.address = str(it.server.said("listening")["address"])
        yield Target(it, keys, steps)
    finally:
        it.server.stop()


class Bystander:
    """A client with a token that submits, shows and cancels a job, again and again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._endpoint = target.endpoint(Role.USER, subject="bystander")
        self._served = asyncio.Event()
        self.slowest = 0.0  # seconds of three calls, at most
        self.step = LongestStep()  # of the server beside the block, once the block is over

    async def run(self) -> None:
        async with JobsClient(self._endpoint) as jobs:
            while True:
                began = time.monotonic()
                id = (await jobs.enqueue(JobSpec(command="true", queue="bystander"))).id
                assert (await jobs.get(id))[0].state is JobState.SCHEDULED
                assert (await jobs.cancel(id)).state is JobState.CANCELLED
                self.slowest = max(self.slowest, time.monotonic() - began)
                self._served.set()

    async def step_beside(self, attack: Callable[[], Awaitable[None]]) -> float:
        """The seconds of the server's longest step beside an attack: the least of some attempts."""
        found = []
        for _ in range(2 + DOSE):
            offset = self._target.steps.stat().st_size
            await attack()
            await self.served()
            found.append(longest_of(self._target.steps, offset).seconds)
        return min(found)

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
        seen.slowest, offset = 0.0, target.steps.stat().st_size
        yield seen
        await seen.served()
        seen.step = longest_of(target.steps, offset)
        going.cancel()
