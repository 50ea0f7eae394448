"""The encoding of facts and reports as records, for every file that outlives a process.

Rules
- A record is a version byte, a kind byte and a body. A kind keeps its number and its meaning for
  ever.
- A body is MessagePack: a map of the fields of the model's class by name, without the fields that have
  their default value. So a new field with a default changes no old record, and the record of a plain
  job is short. A field is never renamed, and a limit that JobSpec checks is never lowered: either would
  make old records unreadable.
- A fact about a subject other than a job has a kind from 128 to 191. A log stores it in the same table
  as facts about jobs, under its subject, so a new kind changes no table.
- Output is raw: for each chunk its stream (1 byte), its time (8), its size (4), and its bytes
  unchanged.
- Bytes that are not exactly one record raise Unreadable. Nothing is guessed.
- A log has a feature level, which a new kind of record raises; so does a new field of an old kind, if
  a reader without it would take the record for something else. A server writes such records only to
  a log whose level says so, and a reader refuses a log of a higher level than its own.

What was rejected
- The wire contract's protobuf: its messages serve every client, change for other reasons than a log,
  and contain less than the facts.
- Arrays instead of maps: a quarter smaller, but a new field could only be added at the end, and a
  record could not be read without the code that wrote it.
- JSON: output would need base64, and encoding takes twice as long.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from itertools import chain
from struct import Struct
from typing import Any, Final, TypeVar

import msgspec

from airunner.model.errors import InvalidRequest
from airunner.model.facts import (
    ArtifactKept,
    ArtifactsDropped,
    CancelRequested,
    Enqueued,
    Finished,
    Forgotten,
    Leased,
    LifecycleFact,
    OutputDropped,
    Renewed,
    RetentionFact,
    Returned,
    SubjectFact,
)
from airunner.model.jobs import Instant, Job, Outcome
from airunner.model.reports import (
    Alive,
    Chunk,
    CloneEnded,
    CloneFailed,
    CloneProgressed,
    CloneStarted,
    ContainerCreated,
    ContainerRemoved,
    ImagePullEnded,
    ImagePullProgressed,
    ImagePullStarted,
    Output,
    OutputCut,
    ProcessEnded,
    ProcessFailed,
    ProcessStarted,
    Remark,
    Report,
    StepEnded,
    StepStarted,
    Stream,
    TerminalResized,
)

T = TypeVar("T")

VERSION: Final = 1
FEATURE_LEVEL: Final = 1  # the highest level of records that this module reads and writes

RecordedJobFact = LifecycleFact | RetentionFact  # Reported is recorded as its report
RecordedFact = RecordedJobFact | SubjectFact

FACTS: Final[Mapping[type[RecordedJobFact], int]] = {
    Enqueued: 1,
    Leased: 2,
    Renewed: 3,
    Returned: 4,
    CancelRequested: 5,
    Finished: 6,
    OutputDropped: 7,
    Forgotten: 8,
    ArtifactKept: 9,
    ArtifactsDropped: 10,
}
SUBJECT_FACTS: Final[Mapping[type[SubjectFact], int]] = {}  # numbers in SUBJECT_KINDS
SUBJECT_KINDS: Final = range(128, 192)
REPORTS: Final[Mapping[type[Report], int]] = {
    Output: 32,
    OutputCut: 33,
    ProcessStarted: 34,
    ProcessEnded: 35,
    ProcessFailed: 36,
    Alive: 37,
    TerminalResized: 38,
    CloneStarted: 39,
    CloneProgressed: 40,
    CloneEnded: 41,
    CloneFailed: 42,
    Remark: 43,
    ContainerCreated: 44,
    ContainerRemoved: 45,
    ImagePullStarted: 46,
    ImagePullProgressed: 47,
    ImagePullEnded: 48,
    StepStarted: 49,
    StepEnded: 50,
}
STEP_OUTPUT: Final = 51  # Output, with the index of its step (4 bytes) before the chunks
OUTCOME: Final = 64
JOB: Final = 65

_HEAD: Final = 2  # bytes: version, kind
_CHUNK: Final = Struct(">BqI")  # stream, time in ms since the epoch, size in bytes
_STEP: Final = Struct(">I")
_STREAMS: Final[Mapping[Stream, int]] = {Stream.STDOUT: 1, Stream.STDERR: 2}
_STREAM: Final = {code: stream for stream, code in _STREAMS.items()}
_OUTPUT: Final = bytes((VERSION, REPORTS[Output]))
_STEP_OUTPUT: Final = bytes((VERSION, STEP_OUTPUT))
_PLAIN: Final = frozenset({str, int, bool, bytes, dict, type(None)})  # packed unchanged


class Unreadable(Exception):
    """The bytes are no record, or a record of a later version; the message says which."""


class FactCodec:
    """The records of all kinds of facts.

    `subjects` has the number of each kind of fact about a subject other than a job.
    """

    def __init__(self, subjects: Mapping[type[SubjectFact], int]) -> None:
        assert all(number in SUBJECT_KINDS for number in subjects.values())
        self._kinds: Mapping[type[RecordedFact], int] = dict(
            chain[tuple[type[RecordedFact], int]](FACTS.items(), subjects.items())
        )
        self._decoders = _unpackers(self._kinds)

    def kind(self, fact: RecordedFact) -> int:
        """The number of the fact's kind."""
        return self._kinds[type(fact)]

    def encode(self, fact: RecordedFact) -> bytes:
        return _encode(self._kinds[type(fact)], fact)

    def decode(self, record: bytes) -> RecordedFact:
        """The fact; raises Unreadable."""
        return _decode(record, self._decoders)


def encode_fact(fact: RecordedFact) -> bytes:
    return FACT_CODEC.encode(fact)


def decode_fact(record: bytes) -> RecordedFact:
    """The fact; raises Unreadable."""
    return FACT_CODEC.decode(record)


def encode_report(report: Report) -> bytes:
    if isinstance(report, Output):
        return b"".join(_pieces(report))
    return _encode(REPORTS[type(report)], report)


def decode_report(record: bytes) -> Report:
    """The report; raises Unreadable."""
    if record[:_HEAD] == _OUTPUT:
        return Output(tuple(_chunks(record, _HEAD)))
    if record[:_HEAD] == _STEP_OUTPUT:
        start = _HEAD + _STEP.size
        return Output(tuple(_chunks(record, start)), *_STEP.unpack(record[_HEAD:start]))
    return _decode(record, _REPORT)


def encode_outcome(outcome: Outcome) -> bytes:
    return _encode(OUTCOME, outcome)


def decode_outcome(record: bytes) -> Outcome:
    """The outcome; raises Unreadable."""
    return _decode(record, _OUTCOME)


def encode_job(job: Job) -> bytes:
    return _encode(JOB, job)


def decode_job(record: bytes) -> Job:
    """The job; raises Unreadable."""
    return _decode(record, _JOB)


# Output


def _pieces(output: Output) -> Iterator[bytes]:
    if output.step is None:
        yield _OUTPUT
    else:
        yield _STEP_OUTPUT
        yield _STEP.pack(output.step)
    for chunk in output.chunks:
        yield _CHUNK.pack(_STREAMS[chunk.stream], chunk.at, len(chunk.data))
        yield chunk.data


def _chunks(record: bytes, at: int) -> Iterator[Chunk]:
    end = len(record)
    if at >= end:
        raise Unreadable("an output without a chunk")
    while at < end:
        if end - at < _CHUNK.size:
            raise Unreadable("an output that ends within the head of a chunk")
        stream, time, size = _CHUNK.unpack_from(record, at)
        at += _CHUNK.size
        if size > end - at:
            raise Unreadable("an output that ends within a chunk")
        if stream not in _STREAM:
            raise Unreadable(f"a chunk of a stream numbered {stream}, which is none")
        yield Chunk(_STREAM[stream], record[at : at + size], Instant(time))
        at += size


# All other records

_packer: Final = msgspec.msgpack.Encoder()


def _encode(kind: int, value: object) -> bytes:
    return bytes((VERSION, kind)) + _packer.encode(_map(value))


def _map(value: Any) -> dict[str, object]:  # Any: a dataclass or Struct of the model
    """The fields of a value that differ from their defaults, by name."""
    return {
        name: field if type(field) in _PLAIN else _simple(field)
        for name, default in _fields(type(value))  # type: ignore[arg-type]  # mypy thinks that a class has no hash
        if (field := getattr(value, name)) != default
    }


def _simple(value: object) -> object:
    """The value in types that MessagePack has."""
    if isinstance(value, msgspec.Struct) or is_dataclass(value):
        return _map(value)
    if isinstance(value, tuple):
        return [each if type(each) in _PLAIN else _simple(each) for each in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


@cache
def _fields(kind: type) -> tuple[tuple[str, object], ...]:
    """Each field with its default; MISSING, which equals no value, if it has none."""
    known = msgspec.structs.fields(kind) if issubclass(kind, msgspec.Struct) else fields(kind)  # type: ignore[arg-type]  # a dataclass
    return tuple((each.name, _default(each)) for each in known)


def _default(field: Field[Any] | msgspec.structs.FieldInfo) -> object:
    if field.default_factory in (MISSING, msgspec.NODEFAULT):
        return MISSING if field.default is msgspec.NODEFAULT else field.default
    return field.default_factory()


def _unpackers(kinds: Mapping[type[T], int]) -> Mapping[int, msgspec.msgpack.Decoder[T]]:
    return {code: msgspec.msgpack.Decoder(kind) for kind, code in kinds.items()}


FACT_CODEC: Final = FactCodec(SUBJECT_FACTS)
_REPORT: Final[Mapping[int, msgspec.msgpack.Decoder[Report]]] = _unpackers(
    {kind: code for kind, code in REPORTS.items() if kind is not Output}
)
_OUTCOME: Final = _unpackers({Outcome: OUTCOME})
_JOB: Final = _unpackers({Job: JOB})


def _decode(record: bytes, known: Mapping[int, msgspec.msgpack.Decoder[T]]) -> T:
    """The value of a record whose kind is in the table of decoders. Raises Unreadable."""
    if len(record) < _HEAD:
        raise Unreadable(f"{len(record)} bytes, too few for a record")
    if record[0] != VERSION:
        raise Unreadable(
            f"a record of version {record[0]}; this airunner reads version {VERSION}"
            + (": a later one wrote it" if record[0] > VERSION else "")
        )
    if record[1] not in known:
        raise Unreadable(f"a record of kind {record[1]}, which is not known here")
    try:
        return known[record[1]].decode(memoryview(record)[_HEAD:])
    except (msgspec.DecodeError, InvalidRequest, UnicodeDecodeError) as error:
        raise Unreadable(f"a record that makes no sense: {error}") from error
