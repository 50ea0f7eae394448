"""The checker of the crash test can fail: each check finds a violation of its invariant."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from airunner.model.facts import Enqueued, Fact, Finished, Leased, Reported
from airunner.model.job_events import JobFinished, job_event
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobId,
    Lease,
    Millis,
    Outcome,
    Reason,
    RequestId,
    Sequence,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.model.proof.seal import NOTHING
from airunner.model.reports import Chunk, Output, Stream
from airunner.store.engine import Engine
from tests.rounds.checker import CHECKS, complaints
from tests.rounds.expectations import Wish
from tests.rounds.observations import Accepted, Exit, Sightings, View

ID = JobId("job-1")
WISH = Wish(tag="somebody.1", blocks=1, lines=3, pause=0, code=0)


@pytest.fixture
def seen(tmp_path: Path) -> Sightings:
    """The records of a job that ran once and ended: two watchers and two commands."""
    marks = tmp_path / "marks"
    marks.mkdir()
    (marks / ID).write_text(f"begin 1 {WISH.tag}\nend 1 {WISH.tag}\n")
    (marks / f"{ID}.lock").touch()
    lease = Lease(
        token=TokenDigest(b"t"), worker=WorkerId("w.1"), span=Millis(9), until=Instant(9_000)
    )
    chunks = [
        Chunk(Stream.STDOUT, line, Instant(5)) for line in WISH.output(1).splitlines(keepends=True)
    ]
    done = Outcome(reason=Reason.EXITED, exit_code=0)
    facts: list[Fact] = [
        Enqueued(ID, WISH.spec(marks), RequestId("key"), Subject(""), None),
        Leased(ID, 1, lease),
        Reported(ID, 1, 3, Output(tuple(chunks))),
        Finished(ID, 1, done.state, done, AttemptEnd.FINISHED, 0),
    ]
    events = Engine().record(facts, Instant(7))
    entries = [each for event in events if (each := job_event(event))]
    printed = tuple(
        zip(
            range(1, 7),
            [0, 1, 1, 1, 1, 1],
            ["enqueued", "leased", *["output"] * 3, "finished"],
            strict=True,
        )
    )
    it = Sightings(marks)
    it.wishes[WISH.tag] = WISH
    it.asked[WISH.tag] = 1
    it.accepted.append(Accepted(ID, WISH.tag, "key"))
    it.views.append(View(ID, 1, "one", list(entries)))
    it.audits[ID] = View(ID, 1, "the audit", list(entries))
    it.exits.append(Exit(ID, "submit", 0, WISH.output(1), b""))
    it.exits.append(Exit(ID, "monitor", 0, b"", b"", printed))
    return it


def say(*lines: str) -> Callable[[Sightings], None]:
    """Writes marks as a job's command does."""

    def sabotage(seen: Sightings) -> None:
        with (seen.marks / ID).open("a") as file:
            file.writelines(f"{line} {WISH.tag}\n" for line in lines)

    return sabotage


def another_stream(seen: Sightings) -> None:
    view = seen.views[0]
    view.entries[1] = structs.replace(view.entries[1], at=Instant(8))


def a_gap(seen: Sightings) -> None:
    del seen.views[0].entries[1]


def a_double(seen: Sightings) -> None:
    seen.views[0].entries.insert(1, seen.views[0].entries[1])


def no_end(seen: Sightings) -> None:
    del seen.audits[ID].entries[-1]


def two_ends(seen: Sightings) -> None:
    end = seen.views[0].entries[-1]
    after = structs.replace(end, first=Sequence(end.last + 1), last=Sequence(end.last + 1))
    seen.views[0].entries.append(after)


def a_line_too_few(seen: Sightings) -> None:
    output = seen.audits[ID].entries[2]
    assert isinstance(output.body, Output)
    seen.audits[ID].entries[2] = structs.replace(output, body=Output(output.body.chunks[:-1]))


def another_line(seen: Sightings) -> None:
    output = seen.audits[ID].entries[2]
    assert isinstance(output.body, Output)
    one, two, three = output.body.chunks
    seen.audits[ID].entries[2] = structs.replace(output, body=Output((two, one, three)))


def another_code(seen: Sightings) -> None:
    seen.wishes[WISH.tag] = replace(WISH, code=77)


def a_seal_that_lies(seen: Sightings) -> None:
    end = seen.audits[ID].entries[-1]
    assert isinstance(end.body, JobFinished)
    assert end.body.seal
    lie = structs.replace(end.body, seal=structs.replace(end.body.seal, digest=NOTHING))
    seen.audits[ID].entries[-1] = structs.replace(end, body=lie)


def a_broken_chain(seen: Sightings) -> None:
    seen.audits[ID].entries[1] = structs.replace(seen.audits[ID].entries[1], at=Instant(8))


SABOTAGES: dict[str, list[Callable[[Sightings], None]]] = {
    "nobody_was_told_what_must_never_be_said": [lambda seen: seen.alarms.append("DATA_LOSS")],
    "acknowledged_jobs_exist_and_have_ended": [lambda seen: seen.audits.clear(), no_end],
    "a_job_ends_once_and_last": [two_ends],
    "sequences_are_without_gap_or_double": [a_gap, a_double],
    "every_watcher_saw_the_same": [another_stream, a_gap],
    "output_is_whole_and_in_order": [a_line_too_few, another_line],
    "jobs_end_as_they_must": [another_code],
    "cancelled_is_the_only_end_of_what_was_cancelled": [lambda seen: seen.cancelled.add(ID)],
    "a_key_made_one_job": [
        lambda seen: seen.accepted.append(Accepted(JobId("job-2"), WISH.tag, "key")),
        lambda seen: seen.asked.clear(),
    ],
    "no_two_attempts_ran_at_once": [say("overlap 2"), say("begin 1")],
    "no_process_outlives_its_job": [lambda seen: seen.lingering.add(ID)],
    "what_finished_has_run": [say("begin 2"), lambda seen: (seen.marks / ID).unlink()],
    "commands_exit_as_their_jobs_ended": [
        lambda seen: seen.exits.append(Exit(ID, "monitor", 1, b"", b"")),
        lambda seen: seen.exits.append(Exit(ID, "submit", 0, b"another\n", b"")),
    ],
    "seals_hold": [a_seal_that_lies, a_broken_chain],
}


def test_sound_sightings_have_no_complaint(seen: Sightings) -> None:
    assert not complaints(seen)


@pytest.mark.parametrize(
    ("check", "sabotage"),
    [(check, sabotage) for check, sabotages in SABOTAGES.items() for sabotage in sabotages],
)
def test_each_check_finds_what_it_is_there_for(
    seen: Sightings, check: str, sabotage: Callable[[Sightings], object]
) -> None:
    sabotage(seen)
    assert check in {complaint.split(":")[0] for complaint in complaints(seen)}


def test_every_check_is_sabotaged() -> None:
    assert set(SABOTAGES) == {check.__name__ for check in CHECKS}
