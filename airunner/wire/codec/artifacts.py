"""Artifacts on the wire."""

from airunner.model.artifacts import Artifact
from airunner.model.errors import InvalidRequest
from airunner.wire.job.v1 import job_pb2 as pb


def encode_artifact(artifact: Artifact) -> pb.Artifact:
    return pb.Artifact(
        path=artifact.path,
        size=artifact.size,
        sha256=artifact.sha256,
        executable=artifact.executable,
    )


def decode_artifact(said: pb.Artifact) -> Artifact:
    """The artifact; InvalidRequest names the field that breaks a rule."""
    try:
        return Artifact(
            path=said.path, size=said.size, sha256=said.sha256, executable=said.executable
        )
    except InvalidRequest as wrong:
        raise InvalidRequest(f"artifact.{wrong.field}", wrong.why) from None
