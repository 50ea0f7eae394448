"""Verification of a job's log: complete, cut by retention, changed, and unsealed streams."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from airunner.log.memory import MemoryLog
from airunner.model.facts import Fact
from airunner.model.job_events import ArtifactStored, JobEvent, JobFinished, job_event
from airunner.model.jobs import (
    Instant,
    JobRequest,
    Millis,
    Outcome,
    Reason,
    StepResult,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.namespaces import QueueKey
from airunner.model.proof.chain import next_link
from airunner.model.proof.proof import Differs, LogVerifier, Unproven, Unsealed, Verdict, Whole
from airunner.model.proof.seal import NOTHING, Seal
from airunner.model.reports import Output, OutputCut, StepEnded, StepStarted
from airunner.model.spec import JobSpec
from airunner.model.steps import Step, StepStatus
from airunner.store.engine import Engine
from tests.log.log_contract import NOW, ONE, Writer, artifact, output, read
from tests.promises import holds, promise
from tests.support.loop import virtually

SIZE = 9  # bytes of output of told()
Tamper = Callable[[list[JobEvent]], None]


async def told(*, dropped: bool = False) -> list[JobEvent]:
    """1 enqueued, 2 leased, 3 and 4 output, 5 output, 6 and 7 cut, 8 finished."""
    writer = Writer(MemoryLog())
    await writer.run(ONE, output("one", "two"), output("six"), OutputCut(2, 30))
    if dropped:
        await writer.drop(ONE)
    shown = [job_event(event) for event in await read(writer.log, ONE)]
    return [each for each in shown if each]


def verdict(entries: Sequence[JobEvent], kept: int = SIZE) -> Verdict:
    proof = LogVerifier()
    for each in entries:
        proof.add(each)
    return proof.verdict(kept)


def seal_of(entries: Sequence[JobEvent]) -> Seal:
    end = entries[-1].body
    assert isinstance(end, JobFinished)
    assert end.seal
    return end.seal


def changed(job_event: JobEvent, text: str) -> JobEvent:
    assert isinstance(job_event.body, Output)
    first, *rest = job_event.body.chunks
    return structs.replace(job_event, body=Output((replace(first, data=text.encode()), *rest)))


def with_seal(entries: list[JobEvent], seal: Seal | None) -> None:
    end = entries[-1].body
    assert isinstance(end, JobFinished)
    entries[-1] = structs.replace(entries[-1], body=structs.replace(end, seal=seal))


@virtually
async def test_a_log_that_was_not_touched_is_whole() -> None:
    entries = await told()
    assert verdict(entries) == Whole(seal_of(entries))
    assert seal_of(entries).count == 8


@virtually
async def test_a_job_that_has_not_ended_is_not_sealed() -> None:
    assert verdict((await told())[:-1]) == Unsealed((await told())[-2].last)


def one_byte(entries: list[JobEvent]) -> None:
    entries[2] = changed(entries[2], "onf")


def a_time(entries: list[JobEvent]) -> None:
    entries[1] = structs.replace(entries[1], at=Instant(entries[1].at + 1))


def a_missing_event(entries: list[JobEvent]) -> None:
    del entries[3]


def a_doubled_event(entries: list[JobEvent]) -> None:
    entries.insert(3, entries[2])


def two_in_another_order(entries: list[JobEvent]) -> None:
    one, other = entries[2], entries[3]
    entries[2] = structs.replace(other, first=one.first, last=one.last)


def something_behind_the_end(entries: list[JobEvent]) -> None:
    entries.append(structs.replace(entries[1], first=entries[-1].last, last=entries[-1].last))


def output_taken_for_dropped(entries: list[JobEvent]) -> None:
    entries[3] = structs.replace(entries[3], body=OutputCut(1, 3))


def a_larger_cut(entries: list[JobEvent]) -> None:
    entries[4] = structs.replace(entries[4], body=OutputCut(2, 31))


def a_seal_that_counts_less(entries: list[JobEvent]) -> None:
    with_seal(entries, structs.replace(seal_of(entries), count=7))


def another_digest(entries: list[JobEvent]) -> None:
    with_seal(entries, structs.replace(seal_of(entries), digest=NOTHING))


def no_seal(entries: list[JobEvent]) -> None:
    with_seal(entries, None)


@promise(
    "logs/verify-finds-changes",
    "`airunner verify` finds every change of a finished log. Where a proof is impossible, it names "
    "the part that it cannot prove.",
)
@pytest.mark.parametrize(
    ("tamper", "first", "last"),
    [
        (one_byte, 3, 4),
        (a_time, 2, 2),
        (a_missing_event, 5, 5),
        (a_doubled_event, 3, 4),
        (two_in_another_order, 3, 4),
        (something_behind_the_end, 8, 8),
        (output_taken_for_dropped, 5, 5),
        (a_larger_cut, 8, 8),
        (a_seal_that_counts_less, 8, 8),
        (another_digest, 8, 8),
        (no_seal, 8, 8),
    ],
)
@virtually
async def test_what_was_changed_is_found_where_it_begins(
    tamper: Tamper, first: int, last: int
) -> None:
    entries = await told()
    tamper(entries)
    found = verdict(entries)
    assert isinstance(found, Differs)
    assert (found.first, found.last) == (first, last)
    assert found.why


@virtually
async def test_a_change_whose_link_was_made_anew_is_found_by_the_next_event() -> None:
    entries = await told()
    forged = changed(entries[2], "onf")
    entries[2] = structs.replace(forged, link=next_link(entries[1].link, forged))
    found = verdict(entries)
    assert isinstance(found, Differs)
    assert found.first == 5


@holds("logs/verify-finds-changes")
@virtually
async def test_output_that_retention_took_is_named_and_all_else_proven() -> None:
    whole, entries = await told(), await told(dropped=True)
    found = verdict(entries, kept=0)
    assert isinstance(found, Unproven)
    assert found.seal == seal_of(whole)
    assert (found.size, found.dropped[0][0], found.dropped[-1][1]) == (SIZE, 3, 7)


@virtually
async def test_a_change_beside_output_that_retention_took_is_found() -> None:
    entries = await told(dropped=True)
    entries[-1] = structs.replace(entries[-1], attempt=2)
    found = verdict(entries, kept=0)
    assert isinstance(found, Differs)
    assert found.first == 8


@virtually
async def test_more_output_gone_than_was_there_differs() -> None:
    entries = await told(dropped=True)
    cut = entries[2].body
    assert isinstance(cut, OutputCut)
    entries[2] = structs.replace(entries[2], body=replace(cut, size=cut.size + 1))
    assert isinstance(verdict(entries, kept=0), Differs)


# Jobs of steps, with artifacts


async def told_of_steps() -> list[JobEvent]:
    """1 enqueued, 2 leased, 3 step 0, 4 and 5 its output, 6 its end, 7 artifact, 8 finished."""
    log, engine, token = MemoryLog(), Engine(), digest(TaskToken("t"))
    queue, wish = engine.queue, JobRequest(spec=JobSpec(steps=(Step(run="make"),)))
    worker, span = WorkerId("w"), Millis(9_000)
    steps = (StepResult(name="make", status=StepStatus.SUCCESS, exit_code=0),)
    outcome = Outcome(reason=Reason.EXITED, exit_code=0, steps=steps)
    begun, over = StepStarted(0, "make"), StepEnded(0, "make", StepStatus.SUCCESS, 0, Millis(7))
    wrote = output("one", "two", step=0)
    verbs: Sequence[Callable[[], Sequence[Fact]]] = (
        lambda: queue.enqueue(ONE, wish, NOW),
        lambda: queue.lease([QueueKey("default")], token=token, worker=worker, span=span, now=NOW),
        lambda: queue.publish(token, [(1, begun), (2, wrote), (4, over)], now=NOW),
        lambda: queue.store_artifact(token, artifact("a", 5), now=NOW),
        lambda: queue.finish(token, outcome),
    )
    for verb in verbs:
        await log.append(engine.record(verb(), NOW))
    shown = [job_event(event) for event in await read(log, ONE)]
    return [each for each in shown if each]


def of_another_step(entries: list[JobEvent]) -> None:
    assert isinstance(entries[3].body, Output)
    entries[3] = structs.replace(entries[3], body=replace(entries[3].body, step=1))


def of_no_step(entries: list[JobEvent]) -> None:
    assert isinstance(entries[3].body, Output)
    entries[3] = structs.replace(entries[3], body=replace(entries[3].body, step=None))


def a_step_that_failed(entries: list[JobEvent]) -> None:
    ended = StepEnded(0, "make", StepStatus.FAILED, 0, Millis(7))
    entries[4] = structs.replace(entries[4], body=ended)


def another_artifact(entries: list[JobEvent]) -> None:
    entries[5] = structs.replace(entries[5], body=ArtifactStored(artifact("a", 6)))


def one_that_may_be_run(entries: list[JobEvent]) -> None:
    changed = structs.replace(artifact("a", 5), executable=True)
    entries[5] = structs.replace(entries[5], body=ArtifactStored(changed))


def a_missing_artifact(entries: list[JobEvent]) -> None:
    del entries[5]


def an_outcome_without_its_steps(entries: list[JobEvent]) -> None:
    end = entries[6].body
    assert isinstance(end, JobFinished)
    outcome = structs.replace(end.outcome, steps=())
    entries[6] = structs.replace(entries[6], body=structs.replace(end, outcome=outcome))


@virtually
async def test_a_job_of_steps_with_an_artifact_is_whole() -> None:
    entries = await told_of_steps()
    assert verdict(entries, kept=6) == Whole(seal_of(entries))
    assert (seal_of(entries).count, seal_of(entries).size) == (8, 6)


@holds("logs/verify-finds-changes")
@pytest.mark.parametrize(
    ("tamper", "first", "last"),
    [
        (of_another_step, 4, 5),
        (of_no_step, 4, 5),
        (a_step_that_failed, 6, 6),
        (another_artifact, 7, 7),
        (one_that_may_be_run, 7, 7),
        (a_missing_artifact, 7, 7),
        (an_outcome_without_its_steps, 8, 8),
    ],
)
@virtually
async def test_what_was_changed_of_steps_is_found_where_it_begins(
    tamper: Tamper, first: int, last: int
) -> None:
    entries = await told_of_steps()
    tamper(entries)
    found = verdict(entries, kept=6)
    assert isinstance(found, Differs)
    assert (found.first, found.last) == (first, last)
