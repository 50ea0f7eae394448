"""The codec of refusals: a status code, a message, and the name of the refusal's class.

The status code tells any client how to react. The class name travels in the trailing
metadata, so that airunner's own clients raise the same class as the server.
"""

import re
from typing import Final

import grpc

from airunner.model import errors
from airunner.model.errors import (
    InvalidRequest,
    LimitReached,
    OutOfSequence,
    Refused,
    Unreachable,
)
from airunner.model.limits import MESSAGE_BYTES_MAX
from airunner.wire.job.v1 import job_pb2 as pb

REFUSAL_KEY: Final = "airunner-refusal"

_CLASSES: Final = {
    each.__name__: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, Refused)
}
# The classes for the status codes of a server that sends no class name.
_BY_STATUS: Final = {
    "INVALID_ARGUMENT": errors.InvalidRequest,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "PERMISSION_DENIED": errors.NotAllowed,
    "NOT_FOUND": errors.UnknownJob,
    "ALREADY_EXISTS": errors.IdempotencyConflict,
    "FAILED_PRECONDITION": errors.StaleLease,
    "RESOURCE_EXHAUSTED": errors.LimitReached,
    "DATA_LOSS": errors.DataLoss,
    "UNAVAILABLE": errors.Unreachable,
    "DEADLINE_EXCEEDED": errors.Unreachable,
}
_PROXY_ANSWER: Final = re.compile(r"HTTP proxy returned response code (\d+)")
_TOO_LARGE: Final = "message larger than max"  # the words of gRPC
_NUMBERS: Final = re.compile(r"\d+")


class MessageTooLarge(LimitReached):
    """A request or its answer is larger than gRPC lets through."""


def status_of(refusal: Refused) -> grpc.StatusCode:
    return grpc.StatusCode[refusal.status]


def encode_refusal(refusal: Refused) -> pb.RequestError:
    return pb.RequestError(code=status_number(refusal.status), message=str(refusal))


def decode_refusal(error: pb.RequestError) -> Refused:
    return make_refusal(status_code(error.code).name, error.message)


def status_number(status: str) -> int:
    """The number of a status code, given its name."""
    number: int = grpc.StatusCode[status].value[0]
    return number


def status_code(number: int) -> grpc.StatusCode:
    """The status code of a number; UNKNOWN for an unknown number."""
    known = {code.value[0]: code for code in grpc.StatusCode}
    return known.get(number, grpc.StatusCode.UNKNOWN)


def make_refusal(status: str, message: str, name: str = "") -> Refused:
    """A refusal of the class `name`, or else of the class for `status`, with exactly `message`."""
    kind = _CLASSES.get(name) or _BY_STATUS.get(status, Refused)
    if kind is InvalidRequest:
        field, _, why = message.partition(": ")
        return InvalidRequest(field, why)
    if kind is OutOfSequence:
        expected, got = ([int(each) for each in _NUMBERS.findall(message)] + [0, 0])[:2]
        return OutOfSequence(expected, got)
    made: Refused = Exception.__new__(kind, message)  # a constructor would extend the message
    return made


def decode_call_error(error: grpc.aio.AioRpcError, server: str) -> Refused:
    """The refusal of a failed call; its message is a sentence that says how to react."""
    details, code = error.details() or "", error.code()
    name = next((str(v) for k, v in error.trailing_metadata() if k == REFUSAL_KEY), "")
    if name:
        return make_refusal(code.name, details, name)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unreachable(f"the server at {server} did not answer in time: try again")
    if code is grpc.StatusCode.CANCELLED:
        return Unreachable(f"the server at {server} has dropped the call: try again")
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unreachable(_why_unreachable(server, details))
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Refused(f"the server at {server} does not know this call: is it airunner's port?")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in details:
        limit = f"MESSAGE_BYTES_MAX ({MESSAGE_BYTES_MAX} bytes)"
        return MessageTooLarge(f"the request or the answer of {server} is larger than {limit}")
    return make_refusal(code.name, details or f"the server at {server} answered {code.name}")


def _why_unreachable(server: str, details: str) -> str:
    text = details.lower()
    if refused := _PROXY_ANSWER.search(details):
        return f"no connection to the server at {server}: the proxy answered {refused[1]}"
    if "dns" in text or "resolution" in text:
        return f"the name in {server} cannot be resolved: check --server"
    if "certificate_verify_failed" in text or "certificate verify failed" in text:
        return (
            f"the server at {server} has a certificate that is not trusted here: "
            "give the CA that signed it with --ca-cert"
        )
    if "hostname" in text or "peer name" in text:
        return (
            f"the certificate of the server at {server} is for another name: "
            "use a name that is in it, or make one for this name with `airunner certs`"
        )
    if "handshake read failed" in text:  # the peer closed the connection, or stayed silent
        return (
            f"the server at {server} takes connections but does not answer: check that it is "
            "airunner's port, and that it is not stopped or overloaded"
        )
    if "ssl" in text or "tls" in text or "handshake" in text or "http2" in text:
        return f"the server at {server} does not speak TLS as airunner does: check the address"
    return f"no server answers at {server}: check --server, and that it is running"
