"""The JSON of artifacts."""

from airunner.model.artifacts import Artifact
from airunner.wire.json.times import Json


def artifact_json(artifact: Artifact) -> Json:
    return {
        "path": artifact.path,
        "size": artifact.size,
        "sha256": artifact.sha256,
        "executable": artifact.executable,
    }
