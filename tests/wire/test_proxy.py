"""The way to a server, by the variables of an environment."""

from collections.abc import Mapping

import pytest

from airunner.wire.client.proxy import DIRECT, find_route

PROXY = {"https_proxy": "http://proxy:3128"}


@pytest.mark.parametrize(
    "server",
    [
        *("localhost:1", "LOCALHOST:1", "localhost.:1", "a.localhost:1", "127.0.0.1:1"),
        *("127.8.8.8:1", "[::1]:1", "0.0.0.0:1", "[::]:1"),
    ],
)
def test_a_server_on_this_machine_is_reached_directly(server: str) -> None:
    assert find_route(server, PROXY) == DIRECT
    assert find_route(server, {**PROXY, "no_proxy": ""}).options == (("grpc.enable_http_proxy", 0),)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, ""),
        (PROXY, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, ""),
        ({"ALL_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ({"grpc_proxy": "http://one", **PROXY}, "http://one"),
        ({"grpc_proxy": "", **PROXY}, ""),
        ({"https_proxy": "", "http_proxy": "http://other"}, ""),
    ],
)
def test_the_first_variable_that_is_set_names_the_proxy(
    environment: Mapping[str, str], proxy: str
) -> None:
    assert find_route("build.example.org:8443", environment).proxy == proxy


@pytest.mark.parametrize(
    ("server", "listed", "direct"),
    [
        ("build.example.org:1", "build.example.org", True),
        ("build.example.org:1", "example.org", True),
        ("build.example.org:1", ".example.org", True),
        ("build.example.org:1", "*.example.org", True),
        ("build.example.org:1", "other.org, EXAMPLE.ORG", True),
        ("build.example.org:1", "other.org example.org", True),
        ("build.example.org:1", "*", True),
        ("build.example.org:1", "example.org:1", True),
        ("build.example.org:1", "example.org:2", False),
        ("build.example.org:1", "ample.org", False),
        ("build.example.org:1", "example.org.uk", False),
        ("build.example.org:1", ",, ,.", False),
        ("10.1.2.3:1", "10.0.0.0/8", True),
        ("10.1.2.3:1", "10.1.2.3", True),
        ("10.1.2.3:1", "10.1.2.3:1", True),
        ("10.1.2.3:1", "11.0.0.0/8,10.1.2.3:2", False),
        ("10.1.2.3:1", "1.2.3", False),
        ("10.1.2.3:1", "10.0.0.0/99", False),
        ("[fd00::7]:1", "fd00::/16", True),
        ("[fd00::7]:1", "fd00:0::7", True),
        ("[fd00::7]:1", "[fd00::7]:1", True),
        ("[fd00::7]:1", "fd00::8", False),
    ],
)
def test_no_proxy_lists_hosts_that_are_reached_directly(
    server: str, listed: str, direct: bool
) -> None:
    for variable in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        assert (find_route(server, {**PROXY, variable: listed}) == DIRECT) is direct


def test_an_error_names_the_proxy_and_its_variable_and_no_password() -> None:
    route = find_route("host:1", {"https_proxy": "http://ada:secret@proxy:3128/"})
    assert route.proxy == "http://ada:secret@proxy:3128/"
    assert "through the proxy proxy:3128 (https_proxy; no_proxy=host goes" in route.detail
    assert "secret" not in route.detail


@pytest.mark.parametrize(
    "url", ["socks5://proxy:1080", "https://a:b@proxy", "http://", "http://[::"]
)
def test_a_proxy_that_is_not_used_is_named(url: str) -> None:
    route = find_route("host:1", {"https_proxy": url})
    assert route.options == (("grpc.enable_http_proxy", 0),)
    assert "directly: https_proxy does not name a proxy as http://HOST:PORT" in route.detail
