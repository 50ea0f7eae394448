"""The HTTP proxy on the way to a server, by the variables that other programs obey.

Rules

1. The first of grpc_proxy, https_proxy, HTTPS_PROXY, http_proxy, all_proxy and ALL_PROXY that is set
   names the proxy; an empty value names none. http_proxy counts because gRPC reads it, and
   HTTP_PROXY does not, since a CGI program may have it from a request.
2. A server on this machine (localhost, a loopback address, 0.0.0.0) is reached directly.
3. no_grpc_proxy, no_proxy or NO_PROXY lists hosts that are reached directly: names with all their
   subdomains, addresses, networks such as 10.0.0.0/8, each also with a port; `*` is every host.
4. Only proxies of the scheme http are used: gRPC knows no others. For any other scheme the
   connection is direct, and an error says so.

gRPC has rules of its own: it reads lower-case variables alone and sends loopback to the proxy. So each
channel is told which proxy to use, or none. The variables are read by the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

PROXY_VARIABLES: Final = (
    *("grpc_proxy", "https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"),
)
DIRECT_VARIABLES: Final = ("no_grpc_proxy", "no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a server: directly, or through a proxy."""

    proxy: str = ""  # a URL, which may have a password; "": directly
    detail: str = ""  # follows the server's address in errors, and has no password

    @property
    def options(self) -> tuple[tuple[str, str | int], ...]:
        """The options of a channel that goes this way."""
        return (
            (("grpc.http_proxy", self.proxy),) if self.proxy else (("grpc.enable_http_proxy", 0),)
        )


DIRECT: Final = Route()


def find_route(server: str, environment: Mapping[str, str]) -> Route:
    """The way to a server, HOST:PORT, by the variables of an environment."""
    host, _, port = server.rpartition(":")
    host = host.removeprefix("[").removesuffix("]").rstrip(".").lower()
    variable = next((name for name in PROXY_VARIABLES if name in environment), None)
    if variable is None or _is_local(host):
        return DIRECT
    listed = next((environment[name] for name in DIRECT_VARIABLES if name in environment), "")
    if any(_matches(each, host, port) for each in listed.replace(",", " ").split()):
        return DIRECT
    url = environment[variable].strip()
    if not url:
        return DIRECT
    if "://" not in url:
        url = f"http://{url}"
    try:
        scheme, place = urlsplit(url).scheme.lower(), urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        scheme, place = "", ""
    if scheme != "http" or not place:
        return Route("", f" (directly: {variable} does not name a proxy as http://HOST:PORT)")
    detail = f" through the proxy {place} ({variable}; no_proxy={host} goes around it)"
    return Route(url, detail)


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _matches(entry: str, host: str, port: str) -> bool:
    """Whether an entry of no_proxy is about this host and port."""
    entry = entry.lower()
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry and address is not None:
        try:
            return address in ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, only_port = entry.rpartition(":")
    if colon and only_port.isdecimal() and (name.endswith("]") or ":" not in name):
        if only_port != port:
            return False
        entry = name
    entry = entry.removeprefix("[").removesuffix("]")
    if address is not None:
        return _address(entry) == address
    entry = entry.removeprefix("*").strip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
