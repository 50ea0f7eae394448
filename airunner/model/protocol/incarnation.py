"""The identity of a worker process: an id that everybody may see, and a secret that proves it.

The id of a worker ends with a digest of its secret, so a server can check the secret without having
seen the worker before, after a restart too. Workers of a pool share a token, so a token cannot tell one
worker from another.
"""

import re
from hashlib import blake2b
from typing import Final

from airunner.model.jobs import WorkerId

SECRET_BYTES: Final = 16
SECRET_BYTES_MAX: Final = 64  # a worker's secret, as a server takes it
_DIGEST_BYTES: Final = 12  # an id of an older worker ends with 8 random bytes
_PROVABLE = re.compile(rf".*\.[0-9a-f]{{{2 * _DIGEST_BYTES}}}", re.DOTALL)


def worker_id(name: str, secret: bytes) -> WorkerId:
    """The id of the process of a worker with this secret."""
    return WorkerId(f"{name}.{blake2b(secret, digest_size=_DIGEST_BYTES).hexdigest()}")


def has_secret(worker: WorkerId) -> bool:
    """True if the id is that of a worker with a secret."""
    return _PROVABLE.fullmatch(worker) is not None


def is_proven(worker: WorkerId, secret: bytes) -> bool:
    """True if the secret is that of the worker."""
    return worker == worker_id(worker.rpartition(".")[0], secret)
