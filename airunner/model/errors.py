"""The refusals of airunner: one exception class for each reason.

    Refused
      InvalidRequest      INVALID_ARGUMENT      never retry: the request itself is wrong
      Unauthenticated     UNAUTHENTICATED       get another token first
      NotAllowed          PERMISSION_DENIED     get another role first
      UnknownJob          NOT_FOUND
      UnknownArtifact     NOT_FOUND
      IdempotencyConflict ALREADY_EXISTS
      StaleLease          FAILED_PRECONDITION   the caller no longer holds the job's lease
      CancelPending       FAILED_PRECONDITION   a cancelled job's lease is not renewed
      AlreadyFinished     FAILED_PRECONDITION
      OutOfSequence       FAILED_PRECONDITION   earlier reports are missing
      LimitReached        RESOURCE_EXHAUSTED    retry when there is room
      DataLoss            DATA_LOSS             the log holds less than the caller has seen, or is damaged
      ShuttingDown        UNAVAILABLE           retry, with backoff
      Stalled             UNAVAILABLE           the log is full: retry, with backoff
      Unreachable         UNAVAILABLE           no answer; the message names likely causes

A caller handles a refusal. Each class has the gRPC status that tells the caller how to
react, and `retry`: whether the same request may succeed later. A broken invariant is not
a refusal: it raises AssertionError and ends the process.
"""

from typing import ClassVar


class Refused(Exception):
    """Base class of all refusals: the request was understood and declined."""

    status: ClassVar[str] = "FAILED_PRECONDITION"
    retry: ClassVar[bool] = False


class InvalidRequest(Refused):
    """A field of the request breaks a rule; `field` is its name on the wire."""

    status = "INVALID_ARGUMENT"

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class Unauthenticated(Refused):
    """The caller sent no token, or an invalid token."""

    status = "UNAUTHENTICATED"


class NotAllowed(Refused):
    """The token is valid, but its roles do not allow this call."""

    status = "PERMISSION_DENIED"


class UnknownJob(Refused):
    """No job has this id: the job never existed, or retention has removed it."""

    status = "NOT_FOUND"

    def __init__(self, id: str) -> None:
        super().__init__(f"no job {id}: it never existed, or retention has removed it")


class UnknownArtifact(Refused):
    """The latest attempt of the job has no artifact of this name."""

    status = "NOT_FOUND"

    def __init__(self, id: str, path: str) -> None:
        super().__init__(
            f"job {id} has no artifact {path}: it was never stored, or it was removed with "
            "its attempt or by retention"
        )


class IdempotencyConflict(Refused):
    """An earlier request for a different job used this request id (the idempotency key)."""

    status = "ALREADY_EXISTS"


class StaleLease(Refused):
    """The lease of this task token has lapsed or ended, or another lease has replaced it."""

    def __init__(self, why: str = "the lease behind this task token has ended") -> None:
        super().__init__(why)


class CancelPending(Refused):
    """The job's lease is not renewed, because a cancellation of the job was requested."""

    def __init__(self) -> None:
        super().__init__("a cancel was requested: stop the job and complete it")


class AlreadyFinished(Refused):
    """A finished job cannot be cancelled, nor completed with a different outcome."""


class OutOfSequence(Refused):
    """A report's number does not follow the number of the last stored report: some are missing."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"expected the report numbered {expected}, got {got}")
        self.expected = expected


class LimitReached(Refused):
    """The request would exceed a limit; the message has the limit's name, value and unit."""

    status = "RESOURCE_EXHAUSTED"
    retry = True


class DataLoss(Refused):
    """The log holds less of a job than the caller has seen, or the requested events are damaged."""

    status = "DATA_LOSS"


class ShuttingDown(Refused):
    """The server is shutting down; the caller repeats the request on the next server."""

    status = "UNAVAILABLE"
    retry = True

    def __init__(self) -> None:
        super().__init__("the server is shutting down: try again")


class Stalled(Refused):
    """The server cannot append to its log, and makes no decision until it can."""

    status = "UNAVAILABLE"
    retry = True

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; until then the server accepts no request: try again")


class Unreachable(Refused):
    """The server was not reachable, or did not answer within the timeout."""

    status = "UNAVAILABLE"
    retry = True
