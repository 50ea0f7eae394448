"""The codec of the seal of a job's log."""

from airunner.model.proof.seal import Link, Seal
from airunner.wire.job.v1 import job_pb2 as pb


def encode_seal(seal: Seal | None) -> pb.Seal | None:
    if seal is None:
        return None
    return pb.Seal(count=seal.count, bytes=seal.size, bytes_cut=seal.cut, digest=seal.digest)


def decode_seal(holder: pb.FinishedEvent | pb.Job) -> Seal | None:
    """Decode the seal of an event or a job; None if it has no seal."""
    if not holder.HasField("seal"):
        return None
    seal = holder.seal
    return Seal(count=seal.count, size=seal.bytes, cut=seal.bytes_cut, digest=Link(seal.digest))
