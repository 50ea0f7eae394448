"""Reports and outcomes of the golden data: at least one of each kind."""

from collections.abc import Iterable
from itertools import product

from airunner.jobs import Instant, Millis, Outcome, Reason, StepResult
from airunner.reports import (
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
from airunner.steps import StepStatus
from tests.golden.specs import CSI, ODD_TEXT


def every_report(at: Instant) -> Iterable[Report]:
    """At least one of each kind, with ordinary and with odd contents."""
    return (
        CloneStarted("https://ghp_token@host.example/x.git", "abcd", "main", at),
        CloneProgressed("Receiving objects:  45% (9/20)"),
        CloneProgressed(ODD_TEXT),
        CloneFailed("exit 128", f"fatal: not found\n{ODD_TEXT}"),
        CloneEnded("abcdef0123", Millis(1_234), "/srv/golden/checkout"),
        ImagePullStarted("alpine", at),
        ImagePullProgressed("alpine", "pulling", 10, 20),
        ImagePullEnded("alpine", Millis(900)),
        ContainerCreated("c0ffee", "alpine", at),
        ProcessStarted(42, at),
        Alive(Millis(5_500), True),
        Alive(Millis(0), False),
        TerminalResized(80, 24, 640, 480),
        TerminalResized(1, 1),
        Output((Chunk(Stream.STDOUT, b"one\n", at),)),
        Output(
            (
                Chunk(Stream.STDOUT, bytes(range(256)), at),
                Chunk(Stream.STDERR, b"", Instant(at + 7)),
                Chunk(Stream.STDERR, ODD_TEXT.encode(), Instant(at - 100_000)),
                Chunk(Stream.STDOUT, b"no newline", at),
            )
        ),
        OutputCut(3, 4_000),
        StepStarted(0, "make"),
        Output((Chunk(Stream.STDERR, b"of step 0", at), Chunk(Stream.STDOUT, b"", at)), step=0),
        StepEnded(0, "make", StepStatus.SUCCESS, 0, Millis(1_234)),
        StepStarted(255, ""),
        Output((Chunk(Stream.STDOUT, b"of step 255\n", at),), step=255),
        *(StepEnded(1, "t\u00e9st", status, None, Millis(0)) for status in StepStatus),
        ProcessEnded(42, 137, Millis(61_001)),
        ProcessFailed(f"no such command {CSI}"),
        Remark("the disk is full"),
        Remark("x" * 70_000),
        ContainerRemoved("c0ffee", at),
    )


def outcomes(at: Instant) -> Iterable[Outcome]:
    """Every reason, alone and with all other fields."""
    results = tuple(
        StepResult(name=f"step {status}", status=status, exit_code=code, started_at=at)
        for status, code in product(StepStatus, (None, 0, 255))
    )
    for reason in Reason:
        if reason is not Reason.EXITED:
            yield Outcome(reason=reason)
        yield Outcome(
            reason=reason,
            exit_code=7,
            signal=15,
            error=ODD_TEXT * 50,
            started_at=at,
            ended_at=Instant(at + 5),
            log_complete=False,
            steps=results,
        )
    yield Outcome(reason=Reason.EXITED, exit_code=0)
    yield Outcome(reason=Reason.EXITED, exit_code=255)
    yield Outcome(reason=Reason.EXITED, exit_code=-(2**31))
