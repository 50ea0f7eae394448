"""One site for a module's quiet tests; a test that breaks things makes its own."""

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
