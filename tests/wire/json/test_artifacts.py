"""The JSON of artifacts."""

from msgspec import to_builtins

from airunner.model.artifacts import Artifact
from airunner.wire.json.artifacts import artifact_json


def test_an_artifact_has_all_its_fields_in_their_order() -> None:
    artifact = Artifact(path="dist/app", size=9, sha256="0" * 64, executable=True)
    assert list(artifact_json(artifact).items()) == list(to_builtins(artifact).items())
