"""The codec of artifacts."""

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


def decode_artifact(message: pb.Artifact) -> Artifact:
    """Decode an artifact. InvalidRequest names the field that breaks a rule."""
    try:
        return Artifact(
            path=message.path,
            size=message.size,
            sha256=message.sha256,
            executable=message.executable,
        )
    except InvalidRequest as error:
        raise InvalidRequest(f"artifact.{error.field}", error.why) from None
