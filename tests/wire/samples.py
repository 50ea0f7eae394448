"""Samples of every type that has a codec, at least one of each.

Append a new sample to the samples of its class: golden files refer to samples by number
(tests/log/test_records.py, tests/model/proof/test_chain.py).
"""

from typing import get_args

from airunner.model.artifacts import Artifact
from airunner.model.job_events import (
    ArtifactStored,
    JobCancelRequested,
    JobEnqueued,
    JobEventBody,
    JobFinished,
    JobLeased,
    JobReturned,
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
    PastAttempt,
    Position,
    Reason,
    RequestId,
    Sequence,
    StepResult,
    Subject,
    TaskToken,
    TokenDigest,
    WorkerId,
)
from airunner.model.proof.seal import Link, Seal
from airunner.model.protocol import worker_protocol
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
from airunner.model.spec import (
    Checkout,
    Container,
    JobSpec,
    Mount,
    ProcessType,
    Submodules,
    TerminalSize,
)
from airunner.model.steps import Step, StepCondition, StepStatus

AT = Instant(1_700_000_000_123)

REPORTS: tuple[Report, ...] = (
    Output((Chunk(Stream.STDOUT, b"one", AT),)),
    Output(
        (
            Chunk(Stream.STDOUT, b"\x00\xff\n", AT),
            Chunk(Stream.STDERR, b"", Instant(AT + 7)),
            Chunk(Stream.STDOUT, b"late", Instant(AT - 3)),
        )
    ),
    OutputCut(3, 4_000),
    ProcessStarted(42, AT),
    ProcessEnded(42, 137, Millis(61_001)),
    ProcessFailed("no such command"),
    Alive(Millis(5_500), True),
    TerminalResized(80, 24, 640, 480),
    CloneStarted("https://example.org/repo", "abcd", "main", AT),
    CloneProgressed("Receiving objects:  45% (9/20)"),
    CloneEnded("abcdef0123", Millis(1_234), "/workspace"),
    CloneFailed("exit 128", "fatal: not found\n"),
    Remark("the disk is full"),
    ContainerCreated("c0ffee", "alpine", AT),
    ContainerRemoved("c0ffee", AT),
    ImagePullStarted("alpine", AT),
    ImagePullProgressed("alpine", "pulling", 10, 20),
    ImagePullEnded("alpine", Millis(900)),
    Output((Chunk(Stream.STDERR, b"two", AT), Chunk(Stream.STDOUT, b"", AT)), step=0),
    Output((Chunk(Stream.STDOUT, b"three", AT),), step=255),
    StepStarted(0, "make"),
    StepStarted(255, ""),
    StepEnded(0, "make", StepStatus.SUCCESS, 0, Millis(1_234)),
    StepEnded(1, "t\u00e9st", StepStatus.TIMEOUT, None, Millis(0)),
)

SPECS: tuple[JobSpec, ...] = (
    JobSpec(command="true"),
    JobSpec(
        command="make",
        args=("test", "", "--x=\u00e9"),
        queue="gpu/a:1",
        repository="https://example.org/repo",
        commit="abcdef01",
        branch="main",
        checkout=Checkout(depth=0, single_branch=False, submodules=Submodules.RECURSIVE),
        working_directory="sub/folder",
        environment={"A": "1", "EMPTY": ""},
        metadata={"why": "because"},
        owner="me",
        process_type=ProcessType.PTY,
        terminal=TerminalSize(columns=120, rows=40),
        container=Container(
            image="alpine",
            runtime="runc",
            mounts=(Mount(source="/a", target="/b", read_only=True), Mount(source="c", target="d")),
        ),
        timeout_seconds=60,
        queue_timeout_seconds=30,
        grace_seconds=0,
        attempts_max=1,
        output_bytes_max=1,
    ),
    JobSpec(command="x", checkout=None),
    JobSpec(command="x", checkout=Checkout(depth=7, submodules=Submodules.TOP)),
    JobSpec(
        script="echo one\necho two\n", shell="bash -eu", name="twice", artifacts=("*.log", "!x")
    ),
    JobSpec(
        steps=(
            Step(run="make"),
            Step(
                run="make test\n",
                name="t\u00e9st",
                environment={"CI": "true", "EMPTY": ""},
                working_directory="sub/folder",
                timeout_seconds=60,
                continue_on_error=True,
            ),
        ),
        source="0190-source",
    ),
    JobSpec(steps=()),
    JobSpec(source="some/folder"),
    JobSpec(command="x", merge_stderr=True),
    JobSpec(script="x", strict=True),
    JobSpec(steps=tuple(Step(run="x", when=each) for each in StepCondition)),
    JobSpec(command="x", artifacts=("y",), artifacts_on_cancel=True),
    JobSpec(steps=(Step(run="x", background=True),)),
    JobSpec(command="x", repository="https://example.org/repo", checkout=Checkout(lfs=True)),
    JobSpec(
        command="x",
        repository="https://example.org/repo",
        checkout=Checkout(filter="blob:limit=10k"),
    ),
    JobSpec(
        command="x",
        repository="https://example.org/repo",
        checkout=Checkout(sparse=("src", "t\u00e9st/data")),
    ),
)

OUTCOMES: tuple[Outcome, ...] = (
    Outcome(reason=Reason.EXITED, exit_code=0, started_at=AT, ended_at=Instant(AT + 1)),
    Outcome(reason=Reason.EXITED, exit_code=3, error="failed", log_complete=False),
    Outcome(reason=Reason.SIGNALED, exit_code=137, signal=9),
    *(Outcome(reason=reason) for reason in Reason if reason is not Reason.EXITED),
    Outcome(
        reason=Reason.EXITED,
        exit_code=2,
        steps=(
            StepResult(
                name="make",
                status=StepStatus.FAILED,
                exit_code=2,
                started_at=AT,
                ended_at=Instant(AT + 5),
            ),
            StepResult(name="t\u00e9st", status=StepStatus.SKIPPED),
        ),
    ),
)

ARTIFACTS: tuple[Artifact, ...] = (
    Artifact(path="core.log", size=0, sha256="0" * 64),
    Artifact(path="b\u00fcild/out put", size=4_000_000_000, sha256="0f" * 32, executable=True),
)

SEAL = Seal(count=7, size=10, cut=20, digest=Link(b"digest" * 5))


def job(spec: JobSpec = SPECS[0]) -> Job:
    return Job(
        id=JobId("018f-job"),
        spec=spec,
        place=Position(0),
        created_at=AT,
        updated_at=Instant(AT + 1),
    )


_ATTEMPT = PastAttempt(
    number=1,
    token=TokenDigest(b""),
    worker=WorkerId("w1"),
    leased_at=AT,
    ended_at=Instant(AT + 2),
    ending=AttemptEnd.LAPSED,
)

# Without the fields that stay on the server: place, digests, spans, report numbers.
JOBS: tuple[Job, ...] = (
    job(),
    Job(
        id=JobId("018f-running"),
        spec=SPECS[1],
        place=Position(0),
        created_at=AT,
        updated_at=AT,
        request=RequestId("key"),
        submitter=Subject("me"),
        retry_of=JobId("018f-job"),
        state=JobState.RUNNING,
        attempt=2,
        failures=1,
        lease=Lease(
            token=TokenDigest(b""),
            worker=WorkerId("w2"),
            span=Millis(0),
            until=Instant(AT + 60_000),
        ),
        leased_at=AT,
        attempts=(_ATTEMPT,),
        cancel_requested_at=Instant(AT + 3),
        sequence=Sequence(9),
        output_bytes=10,
        output_bytes_cut=20,
    ),
    *(
        Job(
            id=JobId("018f-over"),
            spec=SPECS[5] if outcome.steps else SPECS[2],
            place=Position(0),
            created_at=AT,
            updated_at=AT,
            state=outcome.state,
            outcome=outcome,
            finished_at=AT,
            seal=SEAL,
            artifacts=len(outcome.steps),
            artifact_bytes=2_000_000_000 * len(outcome.steps),
        )
        for outcome in OUTCOMES
    ),
)

HAPPENINGS: tuple[JobEventBody, ...] = (
    JobEnqueued("gpu", None),
    JobEnqueued("default", JobId("018f-job")),
    JobLeased(WorkerId("w1")),
    *(JobReturned(ending, 2) for ending in AttemptEnd),
    JobCancelRequested(Subject("me")),
    *(ArtifactStored(artifact) for artifact in ARTIFACTS),
    JobFinished(OUTCOMES[0].state, OUTCOMES[0], SEAL),
    *(JobFinished(outcome.state, outcome) for outcome in OUTCOMES),
    *REPORTS,
)

_TOKEN, _OTHER = TaskToken("t1"), TaskToken("t2")

FROM_WORKER: tuple[worker_protocol.FromWorker, ...] = (
    worker_protocol.Hello(
        worker=WorkerId("w1"),
        name="box",
        queues=("a", "b"),
        span=Millis(60_000),
        slots=4,
        credit=3,
        holding=(_TOKEN, _OTHER),
        connection=7,
        secret=b"\0s",
    ),
    worker_protocol.Hello(
        worker=WorkerId("w2"),
        name="",
        queues=("a",),
        span=Millis(60_000),
        slots=1,
        credit=1,
        features=("strict", "a-later-one"),
    ),
    worker_protocol.Credit(2),
    worker_protocol.Heartbeat((_TOKEN, _OTHER)),
    worker_protocol.Batch(_TOKEN, 5, REPORTS),
    *(worker_protocol.Completion(_TOKEN, 9, outcome) for outcome in OUTCOMES),
    worker_protocol.GiveBack(_TOKEN),
    worker_protocol.GiveBack(_TOKEN, lost=True),
    worker_protocol.GiveBack(_TOKEN, log_complete=False),
    worker_protocol.GiveBack(_TOKEN, last=7),
    worker_protocol.Farewell(),
)

FROM_SERVER: tuple[worker_protocol.FromServer, ...] = (
    worker_protocol.Welcome(
        "1.0", (worker_protocol.Held(_TOKEN, 4, True), worker_protocol.Held(_OTHER, 0, False)), ()
    ),
    worker_protocol.Welcome("1.0", (), (_TOKEN,)),
    *(
        worker_protocol.Assignment(job=each, token=_TOKEN, span=Millis(60_000), output_bytes_max=10)
        for each in JOBS
    ),
    worker_protocol.Stored(_TOKEN, 4),
    worker_protocol.Renewal((_TOKEN,), (_OTHER,)),
    worker_protocol.CancelOrder(_TOKEN),
    worker_protocol.Settled(_TOKEN),
    worker_protocol.Rejected(_TOKEN, "FAILED_PRECONDITION", "the lease has ended", True),
    worker_protocol.Drain(),
)


def members(union: object) -> set[type]:
    """The classes of a union."""
    return set(get_args(union))
