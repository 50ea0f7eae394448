"""The count of a request's fields before it is decoded."""

import pytest

from airunner.model.errors import InvalidRequest
from airunner.model.limits import REQUEST_BYTES_MAX
from airunner.server.grpc.request_shape import check_fields, shape_of
from airunner.server.grpc.requests import RequestDecoder
from airunner.wire.codec.specs import encode_spec
from airunner.wire.job.v1 import job_pb2 as pb
from tests.wire.samples import SPECS

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
