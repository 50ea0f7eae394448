"""Jobs that run and write while the server is away, silent or stopped: nothing lost or doubled."""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from airunner.model.limits import MIB
from tests.support.installation import PATIENCE, Process, Site, site
from tests.support.proxy import Proxy, proxy

SPOOL_BYTES = 4 * MIB  # for which a worker has room while its server does not answer

# Writes numbered lines, a hundred at a time, until it is told to end. How far it has come it says
# by datagrams, which hold it up in nothing.
COUNT = """
import socket, sys
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.connect(("127.0.0.1", int(sys.argv[1])))
link.settimeout(0.005)
width, number, end = int(sys.argv[2]), 0, b""
while not end:
    sys.stdout.write("".join(f"{number + n:0{width}d}\\n" for n in range(1, 101)))
    sys.stdout.flush()
    number += 100
    link.send(b"%d" % number)
    try:
        end = link.recv(8)
    except TimeoutError:
        pass
"""


class Counter:
    """A job that counts until it is told to end; each line has `width` digits."""

    def __init__(self, it: Site, *, width: int = 9, script: str = COUNT) -> None:
        self._site, self._width = it, width
        self._link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._link.bind(("127.0.0.1", 0))
        port = str(self._link.getsockname()[1])
        self.id = it.submit("--", sys.executable, "-c", script, port, str(width))
        self._link.settimeout(PATIENCE)
        said, self._job = self._link.recvfrom(32)
        self._reached = int(said)

    def goes_on(self, more: int = 1_000) -> None:
        """Return once it has counted on from where it is now."""
        self._link.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._reached = int(self._link.recv(32))
        self._link.settimeout(PATIENCE)
        goal = self._reached + more
        while self._reached < goal:
            self._reached = int(self._link.recv(32))

    def stands_still(self) -> int:
        """Return once it has said nothing for a second: how many bytes it wrote until then."""
        start = self._reached
        self._link.settimeout(1)
        with suppress(TimeoutError):
            while True:
                self._reached = int(self._link.recv(32))
        return (self._reached - start) * (self._width + 1)

    def stop(self) -> int:
        """Tell it to end; how far it has come at least."""
        self._link.sendto(b"end", self._job)
        self._link.close()
        return self._reached

    def end(self) -> None:
        """Let it end, and see that every line is there once and in order, in one attempt."""
        self.stop()
        assert self._site.run("monitor", self.id).returncode == 0
        lines = self._site.run("logs", self.id, check=True).stdout.splitlines()
        assert len(lines) >= self._reached
        assert all(int(line) == number for number, line in enumerate(lines, 1))
        job = self._site.show(self.id)
        assert (job["attempt"], job["failures"], job["log_complete"]) == (1, 0, True)


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Proxy, Process]]:
    """A server whose worker reaches it through a proxy only."""
    with site(tmp_path_factory.mktemp("far")) as it, proxy(it.address) as network:
        there = {"AIRUNNER_SERVER": network.address}
        yield it, network, it.start_worker("--visibility-timeout", "9", environment=there)


def disconnects(worker: Process) -> int:
    return sum('"disconnected"' in line for line in worker.journal)


def test_a_connection_that_is_cut_again_and_again_costs_nothing(
    far: tuple[Site, Proxy, Process],
) -> None:
    it, network, _ = far
    count = Counter(it)
    for _ in range(8):
        network.cut()
        count.goes_on()
    count.end()


def test_a_server_that_is_away_for_a_while_costs_nothing(far: tuple[Site, Proxy, Process]) -> None:
    it, network, worker = far
    count = Counter(it)
    before = disconnects(worker)
    network.away = True
    network.cut()
    while disconnects(worker) < before + 4:
        count.goes_on(100)
    network.away = False
    count.end()


def test_a_network_that_is_silent_is_left_and_costs_nothing(
    far: tuple[Site, Proxy, Process],
) -> None:
    it, network, worker = far
    count = Counter(it)
    before = disconnects(worker)
    network.silence()
    while disconnects(worker) == before:
        count.goes_on(100)
    network.speak()
    count.end()


def test_a_server_that_is_stopped_holds_the_command_up_and_costs_nothing(own: Site) -> None:
    own.start_worker("--visibility-timeout", "60", "--spool-bytes-max", "4MiB")
    count = Counter(own, width=999)
    assert own.server
    count.goes_on()
    own.server.signal(signal.SIGSTOP)
    try:
        written = count.stands_still()
    finally:
        own.server.signal(signal.SIGCONT)
    assert written < 6 * MIB
    count.goes_on()
    count.end()
