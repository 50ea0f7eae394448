"""The two small files of a spool: whose it is, and how its attempt ended.

    lease    the Assignment. The job's environment is left out: no secret of a job lies on disk
             for longer than its command needs it
    word     the last word, once it is known

Each is a version byte, a CRC-32 and MessagePack, written beside its place and then moved there: it is
whole or it is not there. One of a later version, or one that is damaged, is not guessed at.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar
from zlib import crc32

import msgspec
from msgspec import structs

from airunner.model.errors import InvalidRequest
from airunner.model.protocol.worker_protocol import Assignment
from airunner.worker.files.atomic import write_all
from airunner.worker.spool.spool import FinalReport, SpoolDamaged

LEASE: Final = "lease"
WORD: Final = "word"
_VERSION: Final = b"\x01"
_HEAD_BYTES: Final = 1 + 4  # version, CRC-32

T = TypeVar("T")


def write_lease(folder: Path, assignment: Assignment) -> None:
    """Raises OSError."""
    spec = structs.replace(assignment.job.spec, environment={})
    _write(
        folder / LEASE, structs.replace(assignment, job=structs.replace(assignment.job, spec=spec))
    )


def read_lease(folder: Path) -> Assignment:
    """Raises OSError, SpoolDamaged."""
    return _read(folder / LEASE, _ASSIGNMENT)


def write_final(folder: Path, final_report: FinalReport) -> None:
    """Raises OSError."""
    _write(folder / WORD, final_report)


def read_final(folder: Path) -> FinalReport | None:
    """None if it is not there. Raises OSError, SpoolDamaged."""
    try:
        return _read(folder / WORD, _WORD)
    except FileNotFoundError:
        return None


def _plain(value: object) -> object:
    """What MessagePack can say of a value that it does not know."""
    assert isinstance(value, Mapping)
    return dict(value)


_packer: Final = msgspec.msgpack.Encoder(enc_hook=_plain)
_ASSIGNMENT: Final = msgspec.msgpack.Decoder(Assignment)
_WORD: Final = msgspec.msgpack.Decoder(FinalReport)


def _write(path: Path, value: object) -> None:
    body = _packer.encode(value)
    data = _VERSION + crc32(body).to_bytes(4, "big") + body
    fresh = f"{path}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)
    os.replace(fresh, path)


def _read(path: Path, decoder: msgspec.msgpack.Decoder[T]) -> T:
    data = path.read_bytes()
    body = data[_HEAD_BYTES:]
    if data[:1] != _VERSION:
        raise SpoolDamaged(f"{path} is of a version that is not known here")
    if data[1:_HEAD_BYTES] != crc32(body).to_bytes(4, "big"):
        raise SpoolDamaged(f"{path} is damaged")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, InvalidRequest) as error:
        raise SpoolDamaged(f"{path} makes no sense: {error}") from None
