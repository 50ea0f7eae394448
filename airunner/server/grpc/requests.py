"""Requests as bytes: their limits, and their decoding.

gRPC hands each request over as bytes, so that the guard knows the caller first. Each method has a limit
of bytes and of fields before anything is decoded. Bytes that are no message of the method are
INVALID_ARGUMENT.
"""

from __future__ import annotations  # classes are generic in the stubs only

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError

from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.server.fairness.time_slice import TimeSlice
from airunner.server.grpc.request_shape import (
    COUNTED_BYTES_MIN,
    Shape,
    check_fields,
    shape_of,
    split_messages,
)
from airunner.wire.job.v1 import job_pb2 as pb

_WORK: Final = "/job.v1.JobService/Work"
Q = TypeVar("Q")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one request of a method, each with its name in limits.py."""

    size: int = limits.REQUEST_BYTES_MAX
    size_name: str = "REQUEST_BYTES_MAX"
    fields: int = limits.REQUEST_FIELDS_MAX
    fields_name: str = "REQUEST_FIELDS_MAX"


_BULK: Final = Limits(
    limits.MESSAGE_BYTES_MAX,
    "MESSAGE_BYTES_MAX",
    limits.BULK_REQUEST_FIELDS_MAX,
    "BULK_REQUEST_FIELDS_MAX",
)
_LIMITS: Final = {
    "/job.v1.JobService/EnqueueJob": Limits(limits.ENQUEUE_BYTES_MAX, "ENQUEUE_BYTES_MAX"),
    "/job.v1.JobService/EnqueueJobs": _BULK,
    "/job.v1.JobService/CompleteJob": Limits(limits.RESULT_BYTES_MAX, "RESULT_BYTES_MAX"),
    _WORK: Limits(
        limits.MESSAGE_BYTES_MAX,
        "MESSAGE_BYTES_MAX",
        limits.WORK_FIELDS_MAX,
        "WORK_FIELDS_MAX",
    ),
    "/job.v1.JobEventsService/PublishJobEvents": _BULK,
    "/job.v1.JobArtifactsService/UploadArtifact": Limits(
        limits.UPLOAD_BYTES_MAX, "UPLOAD_BYTES_MAX"
    ),
}
_SERVICES: Final = pb.DESCRIPTOR.services_by_name


class RequestDecoder:
    """Decodes the requests of one method."""

    def __init__(self, method: str, decode: Callable[[bytes], Any] | None) -> None:
        self._limits = _LIMITS.get(method, Limits())
        self._decode = decode or bytes
        self._shape = _shape(method)
        self._is_work = method == _WORK

    def __call__(self, data: bytes) -> Any:  # Any: each method has messages of its own
        """The request. Raises InvalidRequest past a limit, or if the bytes are no such message."""
        limit = self._limits
        if len(data) > limit.size:
            raise InvalidRequest(
                "request",
                f"has {len(data)} bytes, more than {limit.size_name} ({limit.size} bytes)",
            )
        if len(data) > COUNTED_BYTES_MIN and self._shape is not None:
            check_fields(data, self._shape, limit.fields, limit.fields_name)
        return self._decoded(data)

    async def all(self, requests: AsyncIterator[bytes]) -> AsyncGenerator[Any, None]:
        """The requests of a stream. A large one of a worker comes in several, between which others run.

        Workers send as many reports as they hold in one request, whose fields have no bound together.
        """
        async for data in requests:
            if self._is_work and COUNTED_BYTES_MIN < len(data) <= self._limits.size:
                turn = TimeSlice()
                for part in self._parts(data):
                    yield self._decoded(part)
                    await turn.rest()
            else:
                yield self(data)

    def _parts(self, data: bytes) -> Iterator[bytes]:
        assert self._shape is not None  # only the published services have streams of messages
        return split_messages(
            data,
            self._shape,
            together=limits.REQUEST_FIELDS_MAX,
            most=self._limits.fields,
            limit=self._limits.fields_name,
        )

    def _decoded(self, data: bytes) -> Any:
        try:
            return self._decode(data)
        except DecodeError:
            raise InvalidRequest("request", "is not a message of this method") from None


def _shape(method: str) -> Shape | None:
    service, _, name = method.removeprefix("/job.v1.").partition("/")
    if service not in _SERVICES:
        return None
    return shape_of(_SERVICES[service].methods_by_name[name].input_type)
