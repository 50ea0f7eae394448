"""The endpoint of a server: address, trusted CA, token; and the gRPC channel to it.

Connections always use TLS. The trusted CA is a given certificate or the system's CAs. A token
file is read again for each call, so a renewed token needs no restart of a client.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from airunner.model.errors import InvalidRequest
from airunner.model.limits import MESSAGE_BYTES_MAX

DEFAULT_SERVER: Final = "localhost:8080"
KEEPALIVE_MILLIS: Final = 30_000  # interval of HTTP/2 pings on a silent connection
KEEPALIVE_TIMEOUT_MILLIS: Final = 10_000
_RECONNECT_MILLIS: Final = (100, 2_000)  # backoff between connection attempts: initial, maximum
_CONNECT_MILLIS: Final = 10_000  # for TCP and TLS; a busy server's handshake is slow

OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.http2.max_pings_without_data", 0),  # 0: no bound, so long polls stay alive
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MILLIS[0]),
    ("grpc.min_reconnect_backoff_ms", _CONNECT_MILLIS),  # gRPC's name of the connect timeout
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MILLIS[1]),
    ("grpc.use_local_subchannel_pool", 1),  # each dial() opens a new connection
    ("grpc.enable_retries", 0),  # Connection retries, and idempotent calls only
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of a server, the CA to trust, and the token to send."""

    server: str = DEFAULT_SERVER  # HOST:PORT
    ca_cert: Path | None = None  # PEM; None: the system's CAs
    token: str = field(default="", repr=False)  # "": no token, for a server without authentication
    token_file: Path | None = None  # overrides `token`
    keepalive_millis: tuple[int, int] = (KEEPALIVE_MILLIS, KEEPALIVE_TIMEOUT_MILLIS)

    def __post_init__(self) -> None:
        host, colon, port = self.server.rpartition(":")
        if not (host and colon and port.isascii() and port.isdecimal() and int(port) < 65536):
            raise InvalidRequest("--server", f"{self.server!r} is not HOST:PORT")

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call: the token, if there is one."""
        token = self.token
        if self.token_file is not None:
            token = _read("--token-file", self.token_file).decode("ascii", "replace")
        return (("authorization", f"Bearer {token.strip()}"),) if token.strip() else ()

    def credentials(self) -> grpc.ChannelCredentials:
        """The trusted CAs as channel credentials. InvalidRequest: ca_cert is not readable."""
        if self.ca_cert is not None:
            roots = _read("--ca-cert", self.ca_cert)
            if b"-----BEGIN CERTIFICATE-----" not in roots:
                raise InvalidRequest("--ca-cert", f"{self.ca_cert} has no PEM certificate in it")
            return grpc.ssl_channel_credentials(roots)
        system = ssl.get_default_verify_paths().cafile
        return grpc.ssl_channel_credentials(Path(system).read_bytes() if system else None)


def dial(endpoint: Endpoint) -> grpc.aio.Channel:
    """Create a gRPC channel to an endpoint; it connects with the first call."""
    interval, timeout = endpoint.keepalive_millis
    options = (
        *OPTIONS,
        ("grpc.keepalive_time_ms", interval),
        ("grpc.keepalive_timeout_ms", timeout),
        ("grpc.http2.ping_timeout_ms", timeout),  # the default is a minute
    )
    return grpc.aio.secure_channel(endpoint.server, endpoint.credentials(), options=options)


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(option, f"cannot read {path}: {error.strerror}") from None
