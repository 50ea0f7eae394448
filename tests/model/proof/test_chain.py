"""The hash chain over a job's events, and the seal of a finished job.

golden/links.txt has a line for each sample event: kind, number, and the link of a chain of this
event alone, in hexadecimal. Never change a line: existing seals depend on these links. A new
sample gets a new line, which the failing test prints.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec import structs

from airunner.log.memory import MemoryLog
from airunner.model.artifacts import Artifact
from airunner.model.facts import Event
from airunner.model.job_events import (
    ArtifactStored,
    JobEnqueued,
    JobEvent,
    JobEventBody,
    JobFinished,
    JobLeased,
    event_kind,
    job_event,
    without_before,
)
from airunner.model.jobs import (
    Instant,
    JobState,
    Millis,
    Outcome,
    Reason,
    Sequence,
    StepResult,
    WorkerId,
)
from airunner.model.proof.chain import next_link
from airunner.model.proof.seal import NOTHING, Link, Seal
from airunner.model.reports import (
    Chunk,
    Output,
    OutputCut,
    ProcessEnded,
    Report,
    StepEnded,
    StepStarted,
    Stream,
    count_sequences,
)
from airunner.model.steps import StepStatus
from tests.log.log_contract import ONE, Writer, output
from tests.promises import holds, promise
from tests.support.loop import virtually
from tests.wire import samples

AT = Instant(1_000)
A, B = (Chunk(Stream.STDOUT, data, AT) for data in (b"a", b"b"))


def told(what: object, first: int = 1, last: int = 1) -> JobEvent:
    return JobEvent(first=Sequence(first), last=Sequence(last), at=AT, attempt=1, body=what)  # type: ignore[arg-type]  # a test's


def alone(what: JobEventBody) -> str:
    """The link of a chain of one event with this body, in hexadecimal."""
    last = 6 + count_sequences(what) if isinstance(what, Report) else 7
    return next_link(NOTHING, told(what, 7, last)).hex()


def golden() -> dict[str, str]:
    """The golden link of each sample, by kind and number within the kind."""
    path = Path(__file__).with_name("golden") / "links.txt"
    return dict(line.split(" ") for line in path.read_text(encoding="utf-8").splitlines())


@holds("logs/finished-log-is-sealed")
def test_every_event_has_the_link_that_it_always_had() -> None:
    wanted: dict[str, str] = {}
    for what in samples.HAPPENINGS:
        number = sum(name.startswith(f"{event_kind(what)}.") for name in wanted) + 1
        wanted[f"{event_kind(what)}.{number}"] = alone(what)
    assert {name: link or "-" for name, link in wanted.items()} == golden()


def chained(*entries: JobEvent) -> Link:
    link = NOTHING
    for each in entries:
        link = next_link(link, each)
    return link


def test_a_link_is_what_the_contract_says() -> None:
    one = sha256(b'[1,1,1000,"enqueued","default",null]\n').digest()
    assert next_link(NOTHING, told(JobEnqueued("default", None))) == one
    named = told(JobEnqueued('é "/\\\n\x01', None))
    said = '[1,1,1000,"enqueued","é \\"/\\\\\\n\\u0001",null]\n'
    assert next_link(NOTHING, named) == sha256(said.encode()).digest()
    two = sha256(one + b'[2,1,1000,"output","stdout",1000,1]\na').digest()
    assert next_link(Link(one), told(Output((A,)), 2, 2)) == two
    outcome = Outcome(reason=Reason.EXITED, exit_code=0)
    end = sha256(two + b'[3,1,1000,"finished","completed","exited",0]\n').digest()
    assert next_link(Link(two), told(JobFinished(JobState.COMPLETED, outcome), 3, 3)) == end


@holds("logs/finished-log-is-sealed")
def test_a_link_of_what_steps_do_and_leave_is_what_the_contract_says() -> None:
    def link(said: bytes) -> bytes:
        return sha256(said).digest()

    begun = told(StepStarted(0, "make"))
    assert next_link(NOTHING, begun) == link(b'[1,1,1000,"step_start",0,"make"]\n')
    of_step = told(Output((A,), step=0))
    assert next_link(NOTHING, of_step) == link(b'[1,1,1000,"output","stdout",1000,1,0]\na')
    over = told(StepEnded(0, "make", StepStatus.TIMEOUT, None, Millis(7)))
    assert next_link(NOTHING, over) == link(b'[1,1,1000,"step_end",0,"make","timeout",null,7]\n')
    for artifact, said in (
        (Artifact(path="a", size=2, sha256="0" * 64), b""),
        (Artifact(path="a", size=2, sha256="0" * 64, executable=True), b",true"),
    ):
        kept = b'[1,1,1000,"artifact",["a",2,"' + b"0" * 64 + b'"' + said + b"]]\n"
        assert next_link(NOTHING, told(ArtifactStored(artifact))) == link(kept)
    steps = (
        StepResult(name="make", status=StepStatus.FAILED, exit_code=2, ended_at=AT),
        StepResult(name="test", status=StepStatus.SKIPPED),
    )
    outcome = Outcome(reason=Reason.EXITED, exit_code=2, steps=steps)
    end = b'[1,1,1000,"finished","failed","exited",2,null,"",null,null,true,'
    end += b'[["make","failed",2,null,1000],["test","skipped"]]]\n'
    assert next_link(NOTHING, told(JobFinished(outcome.state, outcome))) == link(end)


def test_a_chain_is_the_same_however_output_was_batched() -> None:
    whole = chained(told(Output((A, B)), 1, 2))
    assert whole == chained(told(Output((A,)), 1, 1), told(Output((B,)), 2, 2))
    assert whole == next_link(
        chained(told(Output((A,)), 1, 1)), without_before(told(Output((A, B)), 1, 2), 2)
    )


@holds("logs/finished-log-is-sealed")
@pytest.mark.parametrize(
    "other",
    [
        told(Output((B,))),
        told(Output((replace(A, stream=Stream.STDERR),))),
        told(Output((replace(A, at=Instant(1_001)),))),
        told(Output((replace(A, data=b"aa"),))),
        told(Output((A,)), 2, 2),
        told(Output((A,), step=0)),
        structs.replace(told(Output((A,))), at=Instant(999)),
        structs.replace(told(Output((A,))), attempt=2),
        told(JobLeased(WorkerId("a"))),
        told(ProcessEnded(1, 0, Millis(1))),
    ],
)
def test_nothing_can_change_without_the_link(other: JobEvent) -> None:
    assert next_link(NOTHING, other) != next_link(NOTHING, told(Output((A,))))


def test_a_cut_has_no_link_whatever_its_size() -> None:
    before = chained(told(JobEnqueued("default", None)))
    assert next_link(before, told(OutputCut(2, 20), 2, 3)) == before


@promise(
    "logs/finished-log-is-sealed",
    "The log of a finished job is sealed. Its end carries the number of events, the number of "
    "bytes, and the last link of a chain of SHA-256 digests through every event.",
)
@virtually
async def test_a_job_is_sealed_by_its_end_and_every_event_has_its_link() -> None:
    writer = Writer(MemoryLog())
    await writer.run(ONE, output("a", "bc"), OutputCut(2, 30), output("d"))
    link, last = NOTHING, Sequence(0)
    for event in writer.visible(ONE):
        link, last = next_link(link, seen(event)), event.last
        assert event.link == link
    job = writer.engine.table.job(ONE)
    assert job.seal == Seal(count=last, size=4, cut=30, digest=link)
    end = seen(event)
    assert end.body == JobFinished(job.state, job.outcome or Outcome(reason=Reason.LOST), job.seal)


def seen(event: Event) -> JobEvent:
    shown = job_event(event)
    assert shown
    return shown
