"""A server behind an HTTP proxy, and servers of this machine beside a proxy that is not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.support.http_proxy import http_proxy
from tests.support.installation import Site

NAME = "build.example.org"
NOWHERE = "http://127.0.0.1:9"  # nothing listens there
DEAD = {"https_proxy": NOWHERE, "http_proxy": NOWHERE}


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose name only a proxy can resolve."""
    it = Site(tmp_path_factory.mktemp("far"))
    it.run("certs", "--force", "--dir", str(it.certs), "--name", NAME, check=True)
    try:
        it.start_server()
        yield it
    finally:
        it.close()


def name(it: Site) -> str:
    return f"{NAME}:{it.address.rpartition(':')[2]}"


def test_clients_and_workers_go_through_the_proxy(far: Site) -> None:
    with http_proxy() as proxy:
        through = {"https_proxy": proxy.url, "AIRUNNER_SERVER": name(far)}
        assert far.run("list", environment=through).returncode == 0
        worker = far.start_worker("--idle-exit", "60", environment=through)
        done = far.run("submit", "--artifact", "x", "--", "touch", "x", environment=through)
        assert done.returncode == 0, done.stderr
        assert worker.stop() == 0
        assert set(proxy.asked) == {name(far)}
        assert len(proxy.asked) >= 4  # the clients, the worker's session and its uploads


def test_a_proxy_that_does_not_answer_is_named(far: Site) -> None:
    done = far.run("list", environment={**DEAD, "AIRUNNER_SERVER": name(far)})
    assert done.returncode == 125
    said = done.stderr.decode()
    assert "through the proxy 127.0.0.1:9 (https_proxy; no_proxy=build.example.org" in said


def test_a_proxy_that_refuses_is_quoted(far: Site) -> None:
    with http_proxy("403 Forbidden") as proxy:
        through = {"https_proxy": proxy.url, "AIRUNNER_SERVER": name(far)}
        said = far.run("list", environment=through).stderr.decode()
    assert "the proxy answered 403" in said


def test_no_proxy_leads_around_the_proxy(far: Site) -> None:
    around = {**DEAD, "AIRUNNER_SERVER": name(far), "no_proxy": "example.org"}
    said = far.run("list", environment=around).stderr.decode()
    assert "cannot be resolved: check --server" in said
    assert "proxy" not in said


def test_servers_of_this_machine_are_reached_beside_a_dead_proxy(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.environment.update(DEAD)
    up = shell.start("up", "--listen", "127.0.0.1:0")
    try:
        assert up.stderr
        assert any(b"ready at" in line for line in up.stderr)
        done = shell.run("submit", "--", "echo", "here")
        assert (done.returncode, done.stdout) == (0, "here\n")
    finally:
        shell.close()
