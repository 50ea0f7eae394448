"""How a client or a worker reaches a server: its address, its trust, its token.

TLS always. Trust is a CA certificate of one's own, or what the system trusts. A
token that comes from a file is read again for each call, so that whoever renews
it there need not restart anybody.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from airunner.model.errors import InvalidRequest
from airunner.model.limits import MESSAGE_BYTES_MAX

DEFAULT_SERVER: Final = "localhost:8080"
KEEPALIVE_MILLIS: Final = 30_000  # a silent connection is asked this often whether it lives
KEEPALIVE_TIMEOUT_MILLIS: Final = 10_000
_RECONNECT_MILLIS: Final = (100, 2_000)  # between attempts to connect: at first, at most
_CONNECT_MILLIS: Final = 10_000  # for TCP and TLS; a busy server's handshake takes a while

OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.http2.max_pings_without_data", 0),  # 0: no bound, so long polls stay alive
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MILLIS[0]),
    ("grpc.min_reconnect_backoff_ms", _CONNECT_MILLIS),  # gRPC's name for that timeout
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MILLIS[1]),
    ("grpc.use_local_subchannel_pool", 1),  # a new dial is a new connection
    ("grpc.enable_retries", 0),  # who repeats a call knows whether it may be repeated
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Everything that a client has to know of a server."""

    server: str = DEFAULT_SERVER  # HOST:PORT
    ca_cert: Path | None = None  # PEM; None: what the system trusts
    token: str = field(default="", repr=False)  # "": none, for a server that asks for none
    token_file: Path | None = None  # wins over `token`
    keepalive_millis: tuple[int, int] = (KEEPALIVE_MILLIS, KEEPALIVE_TIMEOUT_MILLIS)

    def __post_init__(self) -> None:
        host, colon, port = self.server.rpartition(":")
        if not (host and colon and port.isascii() and port.isdecimal() and int(port) < 65536):
            raise InvalidRequest("--server", f"{self.server!r} is not HOST:PORT")

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call."""
        token = self.token
        if self.token_file is not None:
            token = _read("--token-file", self.token_file).decode("ascii", "replace")
        return (("authorization", f"Bearer {token.strip()}"),) if token.strip() else ()

    def credentials(self) -> grpc.ChannelCredentials:
        """Whom to trust; InvalidRequest if the CA certificate cannot be read."""
        if self.ca_cert is not None:
            roots = _read("--ca-cert", self.ca_cert)
            if b"-----BEGIN CERTIFICATE-----" not in roots:
                raise InvalidRequest("--ca-cert", f"{self.ca_cert} has no PEM certificate in it")
            return grpc.ssl_channel_credentials(roots)
        system = ssl.get_default_verify_paths().cafile
        return grpc.ssl_channel_credentials(Path(system).read_bytes() if system else None)


def dial(endpoint: Endpoint) -> grpc.aio.Channel:
    """A channel, which connects with its first call."""
    every, answer = endpoint.keepalive_millis
    options = (
        *OPTIONS,
        ("grpc.keepalive_time_ms", every),
        ("grpc.keepalive_timeout_ms", answer),
        ("grpc.http2.ping_timeout_ms", answer),  # without it the answer has a minute
    )
    return grpc.aio.secure_channel(endpoint.server, endpoint.credentials(), options=options)


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(option, f"cannot read {path}: {error.strerror}") from None
