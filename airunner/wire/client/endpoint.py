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
from airunner.model.limits import MESSAGE_BYTES_MAX, TOKEN_BYTES_MAX
from airunner.system.text_files import decode_text, read_file
from airunner.wire.client.proxy import DIRECT, Route

DEFAULT_SERVER: Final = "localhost:8080"
KEEPALIVE_MILLIS: Final = 30_000  # interval of HTTP/2 pings on a silent connection
KEEPALIVE_TIMEOUT_MILLIS: Final = 10_000
_PORT_DIGITS_MAX: Final = 5
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
    route: Route = DIRECT  # the proxy on the way, if there is any
    keepalive_millis: tuple[int, int] = (KEEPALIVE_MILLIS, KEEPALIVE_TIMEOUT_MILLIS)

    def __post_init__(self) -> None:
        if not is_address(self.server):
            raise InvalidRequest("--server", f"{self.server!r} is not HOST:PORT")

    @property
    def destination(self) -> str:
        """The server and the proxy on the way to it, for errors."""
        return f"{self.server}{self.route.detail}"

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call: the token, if there is one."""
        if self.token_file is None:
            token = _checked_token("--token", self.token)
        else:
            token = _token_in(self.token_file)
        return (("authorization", f"Bearer {token}"),) if token else ()

    def credentials(self) -> grpc.ChannelCredentials:
        """The trusted CAs as channel credentials. InvalidRequest: ca_cert is not readable."""
        if self.ca_cert is not None:
            roots = _read("--ca-cert", self.ca_cert, MESSAGE_BYTES_MAX)
            if b"-----BEGIN CERTIFICATE-----" not in roots:
                raise InvalidRequest("--ca-cert", f"{self.ca_cert} has no PEM certificate in it")
            return grpc.ssl_channel_credentials(roots)
        system = ssl.get_default_verify_paths().cafile
        if not system:
            return grpc.ssl_channel_credentials()
        return grpc.ssl_channel_credentials(_read("SSL_CERT_FILE", Path(system), MESSAGE_BYTES_MAX))


def is_address(text: str) -> bool:
    """Whether a text is HOST:PORT. The host is not looked up."""
    host, _, port = text.rpartition(":")
    digits = port.isascii() and port.isdecimal() and len(port) <= _PORT_DIGITS_MAX
    return bool(host) and digits and int(port) < 65536


def dial(endpoint: Endpoint) -> grpc.aio.Channel:
    """Create a gRPC channel to an endpoint; it connects with the first call."""
    interval, timeout = endpoint.keepalive_millis
    options = (
        *OPTIONS,
        *endpoint.route.options,
        ("grpc.keepalive_time_ms", interval),
        ("grpc.keepalive_timeout_ms", timeout),
        ("grpc.http2.ping_timeout_ms", timeout),  # the default is a minute
    )
    return grpc.aio.secure_channel(endpoint.server, endpoint.credentials(), options=options)


def _token_in(path: Path) -> str:
    data = _read("--token-file", path, TOKEN_BYTES_MAX)
    try:
        text = decode_text(data)
    except ValueError as error:
        raise InvalidRequest("--token-file", f"{path} holds no token: it {error}") from None
    return _checked_token("--token-file", text, f"{path} holds no token: it")


def _checked_token(option: str, text: str, subject: str = "the token") -> str:
    """The token without the space around it. Raises InvalidRequest unless a header can carry it."""
    token = text.strip()
    if len(lines := token.splitlines()) > 1:
        raise InvalidRequest(option, f"{subject} has {len(lines)} lines: a token is a single line")
    if not token.isascii() or not token.isprintable():
        raise InvalidRequest(option, f"{subject} has characters that no token has")
    return token


def _read(option: str, path: Path, bytes_max: int) -> bytes:
    try:
        return read_file(path, bytes_max)
    except OSError as error:
        raise InvalidRequest(option, f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidRequest(option, f"{path} {error}") from None
