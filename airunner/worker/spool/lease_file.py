"""The two small files of a spool: the attempt's lease, and its final report.

    lease    the Assignment without the job's environment: no secret of a job stays on disk for
             longer than the job's command needs it
    word     the final report, once the attempt has ended

Each file is a version byte, a CRC-32 and MessagePack. It is written under another name and then
renamed, so it is complete or missing. A file that is damaged, or of another version, raises
SpoolDamaged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar
from zlib import crc32

import msgspec
from msgspec import structs

from airunner.model.errors import InvalidRequest
from airunner.model.protocol.worker_protocol import Assignment
from airunner.system.atomic import atomic_write, write_all
from airunner.worker.spool.spool import FinalReport, SpoolDamaged

LEASE: Final = "lease"
WORD: Final = "word"
_VERSION: Final = b"\x01"
_HEAD_BYTES: Final = 1 + 4  # version, CRC-32

T = TypeVar("T")


def write_lease(folder: Path, assignment: Assignment) -> None:
    """Writes the `lease` file of a spool. Raises OSError."""
    spec = structs.replace(assignment.job.spec, environment={})
    _write(
        folder / LEASE, structs.replace(assignment, job=structs.replace(assignment.job, spec=spec))
    )


def read_lease(folder: Path) -> Assignment:
    """Reads the `lease` file of a spool. Raises OSError, SpoolDamaged."""
    return _read(folder / LEASE, _ASSIGNMENT)


def write_final(folder: Path, final_report: FinalReport) -> None:
    """Writes the `word` file of a spool. Raises OSError."""
    _write(folder / WORD, final_report)


def read_final(folder: Path) -> FinalReport | None:
    """Reads the `word` file of a spool; None if it is missing. Raises OSError, SpoolDamaged."""
    try:
        return _read(folder / WORD, _FINAL_REPORT)
    except FileNotFoundError:
        return None


def _plain(value: object) -> object:
    """Converts a mapping of another type to a dict, which MessagePack can encode."""
    assert isinstance(value, Mapping)
    return dict(value)


_packer: Final = msgspec.msgpack.Encoder(enc_hook=_plain)
_ASSIGNMENT: Final = msgspec.msgpack.Decoder(Assignment)
_FINAL_REPORT: Final = msgspec.msgpack.Decoder(FinalReport)


def _write(path: Path, value: object) -> None:
    body = _packer.encode(value)
    data = _VERSION + crc32(body).to_bytes(4, "big") + body
    with atomic_write(str(path), 0o600) as file:
        write_all(file, data)


def _read(path: Path, decoder: msgspec.msgpack.Decoder[T]) -> T:
    data = path.read_bytes()
    body = data[_HEAD_BYTES:]
    if data[:1] != _VERSION:
        raise SpoolDamaged(f"{path} has an unknown version")
    if data[1:_HEAD_BYTES] != crc32(body).to_bytes(4, "big"):
        raise SpoolDamaged(f"{path} is damaged")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, InvalidRequest) as error:
        raise SpoolDamaged(f"{path} cannot be decoded: {error}") from None
