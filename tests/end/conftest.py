"""One server for the tests of a module; a test that ends or freezes its server makes its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Site, site


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with one worker of four slots that may clone local repositories."""
    with site(tmp_path_factory.mktemp("site")) as it:
        it.start_worker("--slots", "4", "--allow-local-repositories")
        yield it


@pytest.fixture(scope="module")
def server_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server, and no worker."""
    with site(tmp_path_factory.mktemp("site")) as it:
        yield it


@pytest.fixture
def quiet(server_of_module: Site) -> Iterator[Site]:
    """The same server for all tests of a module, and no worker yet: those of a test end with it."""
    yield server_of_module
    server_of_module.stop_all_but_server()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    """A server, and no worker yet."""
    with site(tmp_path / "site") as it:
        yield it


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Site]:
    """A server that keeps its jobs in memory, and no worker yet."""
    with site(tmp_path / "site", store="memory") as it:
        yield it
