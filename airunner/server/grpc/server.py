"""The server's gRPC port: TLS, health, reflection, and the servicers."""

import asyncio
from types import TracebackType
from typing import Final, Self, cast

import grpc
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from structlog.typing import FilteringBoundLogger

from airunner.model.errors import InvalidRequest
from airunner.model.limits import (
    CALLS_MAX,
    CALLS_PER_CONNECTION_MAX,
    FILES_RESERVED,
    HANDSHAKE_SECONDS_MAX,
    IDLE_CONNECTION_SECONDS_MAX,
    MESSAGE_BYTES_MAX,
    PING_MILLIS_MIN,
    SHUTDOWN_SECONDS_MAX,
    TOKEN_BYTES_MAX,
)
from airunner.server.artifacts import ArtifactService
from airunner.server.auth import Authenticator
from airunner.server.broker import Broker
from airunner.server.grpc.artifacts import ArtifactsServicer
from airunner.server.grpc.events import EventsServicer
from airunner.server.grpc.guard import Guard
from airunner.server.grpc.jobs import JobsServicer
from airunner.server.grpc.methods import Methods
from airunner.system.open_files import open_files
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1 import job_pb2_grpc

_INT_MAX: Final = 2**31 - 1  # of an option of gRPC
_HEALTH: Final = "grpc.health.v1.Health"
_LINGER_SECONDS: Final = 0.1  # for which late callers get UNAVAILABLE
_GRACE_SECONDS: Final = SHUTDOWN_SECONDS_MAX * 0.75  # the rest is for the log
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a silent second server
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", 2 * TOKEN_BYTES_MAX),
    ("grpc.compression_enabled_algorithms_bitset", 1),  # none: 1 MiB may become 1 GiB
    # A window of 64 KiB until a call reads its message: the probe makes it 16 MiB for every call.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_concurrent_streams", CALLS_PER_CONNECTION_MAX),
    ("grpc.max_connection_idle_ms", IDLE_CONNECTION_SECONDS_MAX * 1000),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS_MAX * 1000),
    ("grpc.keepalive_time_ms", 30_000),  # a silent peer is asked this often whether it lives
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # the default is a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_MILLIS_MIN),  # by default 5 minutes
    ("grpc.http2.max_pings_without_data", 0),  # long polls are silent for hours
)
_SERVICES: Final = tuple(each.full_name for each in pb.DESCRIPTOR.services_by_name.values())


class GrpcServer:
    """A listening port over a broker and its artifacts: `async with GrpcServer(...) as server`.

    Of the files that the process may open, FILES_RESERVED are not for connections, so that the log
    and the artifacts always have theirs. `certificate` and `key` are PEM. Port 0 in `listen` asks
    the system for a free port, which `port` then names. The owner of the server runs the broker as
    well, and waits for broken().
    """

    def __init__(
        self,
        broker: Broker,
        *,
        listen: str,
        certificate: bytes,
        key: bytes,
        gate: Authenticator,
        archive: ArtifactService,
        journal: FilteringBoundLogger,
        version: str,
    ) -> None:
        _check_identity(certificate, key)
        self._broker = broker
        self._listen = listen
        self._credentials = grpc.ssl_server_credentials([(key, certificate)])
        self._broken: asyncio.Future[AssertionError] = asyncio.get_running_loop().create_future()
        self._guard = guard = Guard(
            gate, journal, broken=self._break, stopping=lambda: broker.stopping
        )
        methods = Methods(guard.wrap)
        table = cast("grpc.aio.Server", methods)  # the part that the generated functions use
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, table)
        job_pb2_grpc.add_JobServiceServicer_to_server(JobsServicer(broker, version=version), table)
        job_pb2_grpc.add_JobArtifactsServiceServicer_to_server(ArtifactsServicer(archive), table)
        EventsServicer(broker).add_to(methods)
        names = (*_SERVICES, _HEALTH, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]  # no types yet
            reflection.aio.ReflectionServicer(names), table
        )
        connections = max(1, min(open_files(), _INT_MAX) - FILES_RESERVED)
        self._server = grpc.aio.server(
            handlers=(methods,),
            options=(*_OPTIONS, ("grpc.max_allowed_incoming_connections", connections)),
            maximum_concurrent_rpcs=CALLS_MAX,
        )
        self.port = 0

    async def start(self) -> None:
        """Starts to listen. Raises InvalidRequest if the address is not available."""
        try:
            self.port = self._server.add_secure_port(self._listen, self._credentials)
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise InvalidRequest(
                "--listen", f"cannot listen on {self._listen}: is another server running there?"
            )
        await self._server.start()
        for name in ("", *_SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Stops the broker, ends waiting calls with UNAVAILABLE, lets the others finish in time.

        The port stays open for a moment. gRPC answers CANCELLED to a call that arrives while it shuts
        down; within that moment the guard answers UNAVAILABLE instead.
        """
        await self._health.enter_graceful_shutdown()
        self._broker.stop()
        await asyncio.sleep(_LINGER_SECONDS)
        self._guard.stop()
        await self._server.stop(_GRACE_SECONDS)

    async def broken(self) -> None:
        """Waits for a broken invariant and raises it: the server can no longer be trusted."""
        raise await self._broken

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def _break(self, error: AssertionError) -> None:
        if not self._broken.done():
            self._broken.set_result(error)


def _check_identity(certificate: bytes, key: bytes) -> None:
    """Raises InvalidRequest unless the key belongs to the certificate."""
    try:
        public = load_pem_x509_certificates(certificate)[0].public_key()
    except ValueError:
        raise InvalidRequest("--tls-cert", "is not a PEM certificate") from None
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidRequest("--tls-key", "is not a PEM private key without a password") from None
    if private.public_key() != public:
        raise InvalidRequest("--tls-key", "does not belong to the certificate of --tls-cert")
