"""Records outlive the code that wrote them: their bytes are held, kind by kind.

golden/records.txt has a line for each sample: its name, and its record in hexadecimal. A line is
never changed, because logs with those bytes exist; a new kind of record gets a new line, which
the failing test prints.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from airunner.log.records import (
    FACTS,
    FEATURE_LEVEL,
    JOB,
    OUTCOME,
    REPORTS,
    STEP_OUTPUT,
    SUBJECT_FACTS,
    FactCodec,
    RecordedFact,
    Unreadable,
    decode_fact,
    decode_job,
    decode_outcome,
    decode_report,
    encode_fact,
    encode_job,
    encode_outcome,
    encode_report,
)
from airunner.model.facts import (
    ArtifactKept,
    ArtifactsDropped,
    CancelRequested,
    Enqueued,
    Finished,
    Forgotten,
    JobFact,
    Leased,
    OutputDropped,
    Renewed,
    Reported,
    ReportTotals,
    Returned,
)
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    Job,
    JobId,
    JobState,
    Lease,
    Millis,
    Outcome,
    Reason,
    RequestId,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.model.reports import Chunk, Output, OutputCut, Report, Stream
from airunner.model.spec import JobSpec
from tests.promises import holds, promise
from tests.store.test_engine import Paused
from tests.wire import samples

ID = JobId("018f-job")
LEASE = Lease(
    token=TokenDigest(b"0123456789abcdef"),
    worker=WorkerId("w1"),
    span=Millis(60_000),
    until=Instant(1_700_000_060_123),
)
TOLD: tuple[RecordedFact, ...] = (
    Enqueued(ID, JobSpec(command="true"), RequestId(""), Subject("me"), None),
    *(Enqueued(ID, spec, RequestId("key"), Subject("me"), ID) for spec in samples.SPECS),
    Leased(ID, 2, LEASE),
    Renewed(ID, LEASE),
    *(Returned(ID, 2, ending, 1) for ending in AttemptEnd),
    CancelRequested(ID, 2, Subject("me")),
    Finished(ID, 0, JobState.CANCELLED, Outcome(reason=Reason.FAILED), None, 0),
    *(
        Finished(ID, 2, each.state, each, AttemptEnd.FINISHED, 1, samples.SEAL)
        for each in samples.OUTCOMES
    ),
    OutputDropped(ID),
    Forgotten(ID),
    *(ArtifactKept(ID, 2, artifact) for artifact in samples.ARTIFACTS),
    ArtifactsDropped(ID),
)
GOLDEN = Path(__file__).parent / "golden" / "records.txt"

Sample = RecordedFact | Report | Outcome | Job


def encode(sample: Sample) -> bytes:
    if isinstance(sample, RecordedFact):
        return encode_fact(sample)
    if isinstance(sample, Outcome):
        return encode_outcome(sample)
    if isinstance(sample, Job):
        return encode_job(sample)
    return encode_report(sample)


def decode(record: bytes) -> Sample:
    kind = record[1]
    if kind in FACTS.values():
        return decode_fact(record)
    if kind in (*REPORTS.values(), STEP_OUTPUT):
        return decode_report(record)
    return decode_outcome(record) if kind == OUTCOME else decode_job(record)


def named() -> Mapping[str, Sample]:
    """Every sample by its class and its number among those."""
    found: dict[str, Sample] = {}
    for sample in (*TOLD, *samples.REPORTS, *samples.OUTCOMES, *samples.JOBS):
        name = type(sample).__name__
        number = sum(each.startswith(f"{name}.") for each in found) + 1
        found[f"{name}.{number}"] = sample
    return found


def golden() -> Mapping[str, bytes]:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    return {name: bytes.fromhex(record) for name, record in (line.split() for line in lines)}


@promise(
    "log-file/records-keep-their-meaning",
    "A record keeps its meaning for ever, byte by byte.",
)
def test_every_record_has_the_bytes_that_it_always_had() -> None:
    wanted = {name: f"{name} {encode(sample).hex()}" for name, sample in named().items()}
    known = {name: f"{name} {record.hex()}" for name, record in golden().items()}
    assert wanted == known


@holds("log-file/records-keep-their-meaning")
def test_every_record_that_was_ever_written_is_read_as_what_it_was() -> None:
    assert {name: decode(record) for name, record in golden().items()} == named()


def test_every_kind_has_a_number_of_its_own_and_a_sample() -> None:
    numbers = [*FACTS.values(), *REPORTS.values(), STEP_OUTPUT, OUTCOME, JOB]
    assert len(set(numbers)) == len(numbers)
    assert set(FACTS) == set(get_args(JobFact)) - {Reported, ReportTotals}
    assert set(REPORTS) == set(get_args(Report))
    assert {record[1] for record in golden().values()} == set(numbers)


def test_what_stands_at_its_default_is_not_written() -> None:
    plain = Enqueued(ID, JobSpec(command="true"), RequestId(""), Subject(""), None)
    body = msgspec.msgpack.decode(encode_fact(plain)[2:])
    assert body["spec"] == {"command": "true"}


def test_a_field_that_is_not_there_has_its_default() -> None:
    body = msgspec.msgpack.encode({"reason": "exited"})
    assert decode_outcome(bytes((1, OUTCOME)) + body).log_complete


def test_output_is_kept_raw() -> None:
    data = bytes(range(256)) * 4
    record = encode_report(Output((Chunk(Stream.STDERR, data, Instant(0)),)))
    assert record.endswith(data)
    assert len(record) == len(data) + 15


@pytest.mark.parametrize("size", range(31))
def test_an_output_that_is_cut_anywhere_is_unreadable(size: int) -> None:
    at = Instant(7)
    output = Output((Chunk(Stream.STDERR, b"a", at), Chunk(Stream.STDOUT, b"b", at)))
    record = encode_report(output)
    assert len(record) == 30
    if size == 16:  # a chunk that is whole: the row's checksum tells
        assert decode_report(record[:size]) == Output(output.chunks[:1])
    elif size < 30:
        with pytest.raises(Unreadable):
            decode_report(record[:size])


def test_a_kind_of_fact_about_another_subject_is_a_number_and_a_class() -> None:
    codec = FactCodec({Paused: 191})
    fact = Paused("queue/builds", Instant(7))
    record = codec.encode(fact)
    assert record[:2] == bytes((1, 191))
    assert msgspec.msgpack.decode(record[2:]) == {"subject": "queue/builds", "until": 7}
    assert (codec.kind(fact), codec.decode(record)) == (191, fact)
    assert codec.decode(encode_fact(Forgotten(ID))) == Forgotten(ID)
    with pytest.raises(Unreadable, match="kind 191, which is not known here"):
        decode_fact(record)
    for number in (127, 192, FACTS[Forgotten]):
        with pytest.raises(AssertionError):
            FactCodec({Paused: number})


def test_a_new_kind_of_record_raises_the_feature_level() -> None:
    """An airunner of a lower level would take the new record for damage: it must refuse the log."""
    of_level_1 = {*range(1, 11), *range(32, 52)}
    kinds = {*FACTS.values(), *SUBJECT_FACTS.values(), *REPORTS.values(), STEP_OUTPUT}
    assert (FEATURE_LEVEL, kinds) == (1, of_level_1)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"", "0 bytes, too few for a record"),
        (b"\x01", "1 bytes, too few for a record"),
        (b"\x02\x07\x80", "version 2; this airunner reads version 1: a later one wrote it"),
        (b"\x00\x07\x80", "version 0; this airunner reads version 1$"),
        (b"\x01\xc8\x80", "kind 200, which is not known here"),
        (bytes((1, REPORTS[OutputCut])), "kind 33, which is not known here"),
        (b"\x01\x07\x80", "makes no sense: .*`id`"),
        (b"\x01\x07\xc1", "makes no sense"),
        (b"\x01\x07\x81\xa2id\xa1\xff", "makes no sense"),
    ],
)
def test_what_is_no_fact_says_why(record: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        decode_fact(record)


def test_a_spec_that_is_not_valid_is_unreadable() -> None:
    fact = {"id": "j", "spec": {"command": ""}, "request": "", "submitter": "", "retry_of": None}
    with pytest.raises(Unreadable, match="command: is empty"):
        decode_fact(bytes((1, FACTS[Enqueued])) + msgspec.msgpack.encode(fact))


def test_a_chunk_of_an_unknown_stream_is_unreadable() -> None:
    record = bytearray(encode_report(Output((Chunk(Stream.STDOUT, b"a", Instant(0)),))))
    record[2] = 9
    with pytest.raises(Unreadable, match="a stream numbered 9, which is none"):
        decode_report(bytes(record))


@pytest.mark.parametrize("read", [decode_fact, decode_outcome, decode_job])
def test_one_kind_of_record_is_not_taken_for_another(read: Callable[[bytes], object]) -> None:
    with pytest.raises(Unreadable, match="not known here"):
        read(encode_report(OutputCut(1, 1)))
