"""Keys and certificates, made once."""

import pytest

from tests.server.grpc.server_fixture import Keys, make_keys


@pytest.fixture(scope="session")
def site_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("site") / "certs")
