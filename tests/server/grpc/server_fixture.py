"""A real server on the loopback: TLS, tokens, a broker over a memory log."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from airunner.blobs.blobs import BlobStore
from airunner.blobs.memory import MemoryBlobs
from airunner.cli.processes.certificates import make_certificates
from airunner.cli.processes.logging import LogFormat, open_journal, open_lines
from airunner.log.log import Log
from airunner.log.memory import MemoryLog
from airunner.model.limits import TRANSFER_WAIT_SECONDS_MAX
from airunner.server.artifacts import ArtifactService, blob_remover
from airunner.server.auth import Authenticator, JwtAuthenticator, NoAuth, sign_token
from airunner.server.broker import Broker
from airunner.server.grpc.server import GrpcServer
from airunner.server.ids import RandomIds
from airunner.server.job_log_lines import log_job_events
from airunner.server.policy import Role
from airunner.store.engine import replayed
from airunner.system.clock import LoopClock
from airunner.wire.client.endpoint import Endpoint, dial
from airunner.wire.job.v1.job_pb2_grpc import JobEventsServiceStub, JobServiceStub

if TYPE_CHECKING:
    from airunner.wire.job.v1.job_pb2_grpc import JobEventsServiceAsyncStub, JobServiceAsyncStub

PATIENCE = 20.0  # seconds after which something that should have happened will not


@dataclass(frozen=True)
class Keys:
    """What signs tokens, and what verifies them; made once, because it takes a while."""

    certs: Path
    private: str
    public: str

    def token(self, *roles: Role, subject: str = "somebody", seconds: float = 600) -> str:
        return sign_token(self.private, subject, roles=roles, seconds=seconds)


def make_keys(folder: Path) -> Keys:
    make_certificates(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Keys(folder, private.decode(), public.decode())


@dataclass
class Served:
    """A running server, and ways in."""

    broker: Broker
    server: GrpcServer
    keys: Keys
    lines: io.StringIO  # what it logs
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"localhost:{self.server.port}"

    def endpoint(self, *roles: Role, subject: str = "somebody") -> Endpoint:
        token = self.keys.token(*roles, subject=subject) if roles else ""
        return self.with_token(token)

    def with_token(self, token: str) -> Endpoint:
        return Endpoint(server=self.address, ca_cert=self.keys.certs / "ca.pem", token=token)

    def channel(self) -> grpc.aio.Channel:
        channel = dial(self.with_token(""))
        self.channels.append(channel)
        return channel

    def jobs(self) -> "JobServiceAsyncStub":
        return JobServiceStub(self.channel())

    def events(self) -> "JobEventsServiceAsyncStub":
        return JobEventsServiceStub(self.channel())


@asynccontextmanager
async def serving(
    keys: Keys,
    *,
    gate: Authenticator | None = None,
    log: Log | None = None,
    blobs: BlobStore | None = None,
    listen: str = "127.0.0.1:0",
    make: type[Broker] = Broker,
    transfer_wait: float = TRANSFER_WAIT_SECONDS_MAX,
) -> AsyncIterator[Served]:
    """A server for the length of a block, over what the log holds already."""
    async with asyncio.timeout(PATIENCE):
        log = log or MemoryLog()
        lines = io.StringIO()
        journal = open_journal(LogFormat.JSON, lines)
        blobs = blobs or MemoryBlobs()
        broker = make(
            replayed([event async for event in log.read()]),
            log,
            clock=LoopClock(),
            ids=RandomIds(),
            listeners=(
                blob_remover(blobs),
                log_job_events(open_lines(LogFormat.JSON, lines)),
            ),
        )
        server = GrpcServer(
            broker,
            listen=listen,
            certificate=(keys.certs / "server.pem").read_bytes(),
            key=(keys.certs / "server-key.pem").read_bytes(),
            gate=gate or NoAuth(),
            archive=ArtifactService(broker, blobs, wait=transfer_wait),
            journal=journal,
            version="test",
        )
        served = Served(broker, server, keys, lines)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(broker.run())
            try:
                async with server:
                    yield served
            finally:
                for channel in served.channels:
                    await channel.close()


def guarded(keys: Keys) -> JwtAuthenticator:
    return JwtAuthenticator(keys.public)


async def until(true: Callable[[], object]) -> None:
    """Return as soon as something is so."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110  # nobody tells a test; it looks at each turn
            await asyncio.sleep(0)
