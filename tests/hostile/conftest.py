"""The keys and the attacked server of a module of the hostile suite."""

from collections.abc import Iterator

import pytest

from tests.hostile.server_site import Target, target
from tests.server.grpc.server_fixture import Keys, make_keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "certs")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("attacked") / "site", keys) as it:
        yield it
