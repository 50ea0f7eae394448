"""Everything airunner refuses to do, one class per reason.

    Refused
      InvalidRequest      INVALID_ARGUMENT      never retry: the request itself is wrong
      Unauthenticated     UNAUTHENTICATED       get another token first
      NotAllowed          PERMISSION_DENIED     get another role first
      UnknownJob          NOT_FOUND
      UnknownArtifact     NOT_FOUND
      IdempotencyConflict ALREADY_EXISTS
      StaleLease          FAILED_PRECONDITION   the job is no longer this caller's
      CancelPending       FAILED_PRECONDITION   a cancelled job's lease is not renewed
      AlreadyFinished     FAILED_PRECONDITION
      OutOfSequence       FAILED_PRECONDITION   reports are missing before these
      LimitReached        RESOURCE_EXHAUSTED    retry when there is room
      DataLoss            DATA_LOSS             the log holds less than the caller has seen, or is damaged
      ShuttingDown        UNAVAILABLE           retry, with backoff
      Stalled             UNAVAILABLE           the log is full: retry, with backoff
      Unreachable         UNAVAILABLE           nobody answered; says what to look at

A refusal is the caller's to handle; each names the gRPC status that tells the
caller what to do about it, and `retry` says it in one bit. A broken invariant
is ours: it is an AssertionError and ends the process.
"""

from typing import ClassVar


class Refused(Exception):
    """The request is understood, and the answer is no."""

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
    """No token, or one that cannot be trusted."""

    status = "UNAUTHENTICATED"


class NotAllowed(Refused):
    """The token is good, but its roles do not include this call."""

    status = "PERMISSION_DENIED"


class UnknownJob(Refused):
    """No job has this id: it never existed, or retention has removed it."""

    status = "NOT_FOUND"

    def __init__(self, id: str) -> None:
        super().__init__(f"no job {id}: it never existed, or retention has removed it")


class UnknownArtifact(Refused):
    """The latest attempt of the job has left no file under this name."""

    status = "NOT_FOUND"

    def __init__(self, id: str, path: str) -> None:
        super().__init__(
            f"job {id} has no artifact {path}: none was kept, or it went with its attempt or by retention"
        )


class IdempotencyConflict(Refused):
    """The request id was used before, for a job with other parameters."""

    status = "ALREADY_EXISTS"


class StaleLease(Refused):
    """The lease behind this task token has lapsed, ended or been taken away."""

    def __init__(self, why: str = "the lease behind this task token has ended") -> None:
        super().__init__(why)


class CancelPending(Refused):
    """The job is being cancelled, so its lease is not renewed."""

    def __init__(self) -> None:
        super().__init__("a cancel was requested: stop the job and complete it")


class AlreadyFinished(Refused):
    """What is over cannot be cancelled, or completed in another way."""


class OutOfSequence(Refused):
    """Reports are missing between the last that the log has and these."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"expected the report numbered {expected}, got {got}")
        self.expected = expected


class LimitReached(Refused):
    """A limit would be passed; the message names it with its value and unit."""

    status = "RESOURCE_EXHAUSTED"
    retry = True


class DataLoss(Refused):
    """The caller has seen more of a job than the log holds, or asks for what is damaged there."""

    status = "DATA_LOSS"


class ShuttingDown(Refused):
    """The server is going away; the same request will do on the next one."""

    status = "UNAVAILABLE"
    retry = True

    def __init__(self) -> None:
        super().__init__("the server is shutting down: try again")


class Stalled(Refused):
    """The server cannot write to its log, and decides nothing until it can."""

    status = "UNAVAILABLE"
    retry = True

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; nothing is decided until there is: try again")


class Unreachable(Refused):
    """The server could not be reached, or did not answer in time."""

    status = "UNAVAILABLE"
    retry = True
