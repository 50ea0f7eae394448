"""Refusals on the wire: a status code, a sentence, and the refusal's own name.

The status code tells any client what to do. Ours also get the class by its name,
in the trailing metadata, so that what a caller catches is what the server raised.
"""

import re
from typing import Final

import grpc

from airunner.model import errors
from airunner.model.errors import InvalidRequest, OutOfSequence, Refused, Unreachable
from airunner.wire.job.v1 import job_pb2 as pb

REFUSAL_KEY: Final = "airunner-refusal"

_CLASSES: Final = {
    each.__name__: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, Refused)
}
# What a status code alone says, from a server that gives no name.
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
_NUMBERS: Final = re.compile(r"\d+")


def status_of(refusal: Refused) -> grpc.StatusCode:
    return grpc.StatusCode[refusal.status]


def encode_refusal(refusal: Refused) -> pb.RequestError:
    return pb.RequestError(code=status_number(refusal.status), message=str(refusal))


def decode_refusal(error: pb.RequestError) -> Refused:
    return make_refusal(status_code(error.code).name, error.message)


def status_number(status: str) -> int:
    """The number of a status code, by name."""
    number: int = grpc.StatusCode[status].value[0]
    return number


def status_code(number: int) -> grpc.StatusCode:
    """The status code of a number; UNKNOWN for one that nobody knows."""
    known = {code.value[0]: code for code in grpc.StatusCode}
    return known.get(number, grpc.StatusCode.UNKNOWN)


def make_refusal(status: str, message: str, name: str = "") -> Refused:
    """The refusal of this class name, or else of this status, with this very message."""
    kind = _CLASSES.get(name) or _BY_STATUS.get(status, Refused)
    if kind is InvalidRequest:
        field, _, why = message.partition(": ")
        return InvalidRequest(field, why)
    if kind is OutOfSequence:
        expected, got = ([int(each) for each in _NUMBERS.findall(message)] + [0, 0])[:2]
        return OutOfSequence(expected, got)
    made: Refused = Exception.__new__(kind, message)  # whole: no constructor may add to it
    return made


def decode_call_error(error: grpc.aio.AioRpcError, server: str) -> Refused:
    """What a failed call means to its caller, in one sentence that says what to do."""
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
    return make_refusal(code.name, details or f"the server at {server} answered {code.name}")


def _why_unreachable(server: str, details: str) -> str:
    text = details.lower()
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
    if "handshake read failed" in text:  # it was closed on us, or nothing came for too long
        return (
            f"the server at {server} takes connections but does not answer: check that it is "
            "airunner's port, and that it is not stopped or overloaded"
        )
    if "ssl" in text or "tls" in text or "handshake" in text or "http2" in text:
        return f"the server at {server} does not speak TLS as airunner does: check the address"
    return f"no server answers at {server}: check --server, and that it is running"
