"""The count of a request's fields before it is decoded."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import TaskToken
from airunner.model.limits import (
    MESSAGE_BYTES_MAX,
    MESSAGES_TOGETHER_MAX,
    REPORTS_PER_BATCH_MAX,
    REPORTS_TOGETHER,
    REQUEST_BYTES_MAX,
    WORK_FIELDS_MAX,
)
from airunner.model.protocol.worker_protocol import Batch, Credit, FromWorker
from airunner.model.reports import Chunk, Output, Remark, Report, Stream, count_sequences
from airunner.server.grpc.request_shape import check_fields, shape_of
from airunner.server.grpc.requests import RequestDecoder
from airunner.wire.codec.specs import encode_spec
from airunner.wire.codec.worker_protocol import decode_from_worker, encode_from_worker
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.worker.session.held_lease import MESSAGE_BYTES
from airunner.worker.spool.spool import MemorySpool
from tests.wire.samples import AT, REPORTS, SPECS

JOB = shape_of(pb.EnqueueJobRequest.DESCRIPTOR)
ARGS, STEPS = b"\x42\x00", b"\xe2\x06\x02\x0a\x00"  # JobParams.args: "", JobParams.steps: {{}}


def test_real_jobs_are_counted_to_their_end() -> None:
    for spec in SPECS:
        data = pb.EnqueueJobRequest(
            queue="q" * 200, job_params=encode_spec(spec)
        ).SerializeToString()
        check_fields(data, JOB, 1_000, "MOST")


@pytest.mark.parametrize("inner", [ARGS, STEPS, b"\x50\x01"])
def test_too_many_fields_are_refused_at_any_depth(inner: bytes) -> None:
    body = inner * 100
    data = b"\x1a" + bytes((0x80 | len(body) & 0x7F, len(body) >> 7)) + body
    pb.EnqueueJobRequest.FromString(data)
    check_fields(data, JOB, 301, "MOST")
    with pytest.raises(InvalidRequest, match=r"more fields than MOST \(90\)"):
        check_fields(data, JOB, 90, "MOST")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 20,
        b"\x0b",
        b"\x1a",
        b"\x1a\x80",
        b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    ],
    ids=bytes.hex,
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="is not a message"):
        check_fields(data, JOB, 100, "MOST")


def test_a_request_past_its_bytes_is_refused_before_it_is_decoded() -> None:
    decode = RequestDecoder("/job.v1.JobService/GetJob", pb.GetJobRequest.FromString)
    assert decode(pb.GetJobRequest(job_id="x").SerializeToString()).job_id == "x"
    with pytest.raises(InvalidRequest, match="REQUEST_BYTES_MAX"):
        decode(b"\xff" * (REQUEST_BYTES_MAX + 1))
    with pytest.raises(InvalidRequest, match="is not a message of this method"):
        decode(b"\xff" * 6)


async def decoded(data: bytes) -> list[FromWorker]:
    """The messages that the server takes from one request of a worker."""

    async def requests() -> AsyncIterator[bytes]:
        yield data

    decode = RequestDecoder("/job.v1.JobService/Work", pb.WorkRequest.FromString)
    return [each async for part in decode.all(requests()) for each in decode_from_worker(part)]


def batches(report: Report) -> list[Batch]:
    """The messages of a spool that is full of one report."""
    spool, last = MemorySpool(), 0
    while not spool.full:
        spool.append(last + 1, report)
        last += count_sequences(report)
    found, sent = list[Batch](), 0
    while sent < last:
        first, reports = spool.read(sent, MESSAGE_BYTES, REPORTS_PER_BATCH_MAX)
        found.append(Batch(TaskToken("t" * 40), first, tuple(reports)))
        sent = first - 1 + sum(map(count_sequences, reports))
    return found


ONE_CHUNK = Output((Chunk(Stream.STDERR, b"x", AT),), step=255)


@pytest.mark.parametrize("report", [ONE_CHUNK, Remark("")], ids=["output", "remarks"])
def test_every_message_of_full_spools_is_taken(report: Report) -> None:
    sent = batches(report) * 2
    rest, got = iter(sent), list[FromWorker]()
    while (request := encode_from_worker(rest)).messages:
        *others, _ = request.messages
        assert sum(len(each.batch.events) for each in others) < REPORTS_TOGETHER
        got += asyncio.run(decoded(request.SerializeToString()))
    assert got == sent


def older_request(messages: Sequence[FromWorker]) -> pb.WorkRequest:
    """The messages in one request, as a worker sends it that does not count its reports."""
    each = [encode_from_worker(iter((message,))).messages[0] for message in messages]
    return pb.WorkRequest(messages=each)


def test_the_largest_request_of_an_older_worker_is_taken() -> None:
    (batch, *_) = batches(ONE_CHUNK)
    one = older_request([batch]).SerializeToString()
    count = MESSAGE_BYTES_MAX // len(one)
    assert count * len(batch.reports) > 250_000
    assert asyncio.run(decoded(one * count)) == [batch] * count


def test_a_batch_of_the_most_reports_of_every_kind_is_taken() -> None:
    for report in REPORTS:
        batch = Batch(TaskToken("t"), 1, (report,) * REPORTS_PER_BATCH_MAX)
        data = older_request([batch]).SerializeToString()
        check_fields(data, shape_of(pb.WorkRequest.DESCRIPTOR), WORK_FIELDS_MAX, "MOST")


def test_messages_keep_their_order_when_their_request_is_divided() -> None:
    (batch, *_) = batches(ONE_CHUNK)
    sent: list[FromWorker] = [Credit(1), batch, Credit(2), Credit(3), batch, batch, Credit(4)]
    assert asyncio.run(decoded(older_request(sent).SerializeToString())) == sent


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x0a\x02\x22\x00" * (MESSAGES_TOGETHER_MAX + 4_000), "MESSAGES_TOGETHER_MAX"),
        (
            pb.WorkRequest(
                messages=[pb.FromWorker(batch=pb.Batch(events=[pb.JobEvent()] * WORK_FIELDS_MAX))]
            ).SerializeToString(),
            "more fields than WORK_FIELDS_MAX",
        ),
        (b"\xff" * 20_000, "is not a message"),
        (b"\x08\x01" * 20_000, "is not a message"),
        (
            pb.WorkRequest(messages=[pb.FromWorker(hello=pb.Hello(name="x" * 20_000))])
            .SerializeToString()
            .replace(b"xxx", b"x\xffx", 1),
            "is not a message",
        ),
        (bytes(MESSAGE_BYTES_MAX + 1), "MESSAGE_BYTES_MAX"),
    ],
    ids=["messages", "fields", "tag", "value", "text", "bytes"],
)
def test_a_request_of_a_worker_past_its_limits_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        asyncio.run(decoded(data))
