"""The chain through a job's events, and the seal at its end."""

from dataclasses import replace
from hashlib import sha256

import pytest
from msgspec import structs

from airunner.chain import linked
from airunner.entries import Ended, Entry, InLine, Taken, entry, trimmed
from airunner.facts import Event
from airunner.jobs import Instant, JobState, Millis, Outcome, Reason, Sequence, WorkerId
from airunner.log.memory import MemoryLog
from airunner.reports import Chunk, Output, OutputCut, ProcessEnded, Stream
from airunner.seal import NOTHING, Link, Seal
from tests.core.log_contract import ONE, Writer, output
from tests.support.loop import virtually

AT = Instant(1_000)
A, B = (Chunk(Stream.STDOUT, data, AT) for data in (b"a", b"b"))


def told(what: object, first: int = 1, last: int = 1) -> Entry:
    return Entry(first=Sequence(first), last=Sequence(last), at=AT, attempt=1, what=what)  # type: ignore[arg-type]  # a test's


def chained(*entries: Entry) -> Link:
    link = NOTHING
    for each in entries:
        link = linked(link, each)
    return link


def test_a_link_is_what_the_contract_says() -> None:
    one = sha256(b'[1,1,1000,"enqueued","default",null]\n').digest()
    assert linked(NOTHING, told(InLine("default", None))) == one
    named = told(InLine('é "/\\\n\x01', None))
    said = '[1,1,1000,"enqueued","é \\"/\\\\\\n\\u0001",null]\n'
    assert linked(NOTHING, named) == sha256(said.encode()).digest()
    two = sha256(one + b'[2,1,1000,"output","stdout",1000,1]\na').digest()
    assert linked(Link(one), told(Output((A,)), 2, 2)) == two
    outcome = Outcome(reason=Reason.EXITED, exit_code=0)
    end = sha256(two + b'[3,1,1000,"finished","completed","exited",0]\n').digest()
    assert linked(Link(two), told(Ended(JobState.COMPLETED, outcome), 3, 3)) == end


def test_a_chain_is_the_same_however_output_was_batched() -> None:
    whole = chained(told(Output((A, B)), 1, 2))
    assert whole == chained(told(Output((A,)), 1, 1), told(Output((B,)), 2, 2))
    assert whole == linked(
        chained(told(Output((A,)), 1, 1)), trimmed(told(Output((A, B)), 1, 2), 2)
    )


@pytest.mark.parametrize(
    "other",
    [
        told(Output((B,))),
        told(Output((replace(A, stream=Stream.STDERR),))),
        told(Output((replace(A, at=Instant(1_001)),))),
        told(Output((replace(A, data=b"aa"),))),
        told(Output((A,)), 2, 2),
        structs.replace(told(Output((A,))), at=Instant(999)),
        structs.replace(told(Output((A,))), attempt=2),
        told(Taken(WorkerId("a"))),
        told(ProcessEnded(1, 0, Millis(1))),
    ],
)
def test_nothing_can_change_without_the_link(other: Entry) -> None:
    assert linked(NOTHING, other) != linked(NOTHING, told(Output((A,))))


def test_a_cut_has_no_link_whatever_its_size() -> None:
    before = chained(told(InLine("default", None)))
    assert linked(before, told(OutputCut(2, 20), 2, 3)) == before


@virtually
async def test_a_job_is_sealed_by_its_end_and_every_event_has_its_link() -> None:
    writer = Writer(MemoryLog())
    await writer.run(ONE, output("a", "bc"), OutputCut(2, 30), output("d"))
    link, last = NOTHING, Sequence(0)
    for event in writer.visible(ONE):
        link, last = linked(link, seen(event)), event.last
        assert event.link == link
    job = writer.engine.table.job(ONE)
    assert job.seal == Seal(count=last, size=4, cut=30, digest=link)
    end = seen(event)
    assert end.what == Ended(job.state, job.outcome or Outcome(reason=Reason.LOST), job.seal)


def seen(event: Event) -> Entry:
    shown = entry(event)
    assert shown
    return shown
