"""The JSON of seals."""

from airunner.model.proof.seal import Seal
from airunner.wire.json.times import Json


def seal_json(seal: Seal) -> Json:
    return {"count": seal.count, "size": seal.size, "cut": seal.cut, "digest": seal.digest.hex()}
