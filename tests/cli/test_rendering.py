"""Jobs and entries as JSON, as tables and as prose."""

import base64
import json

import pytest
from rich.cells import cell_len

from airunner.cli.rendering import (
    ending,
    entry_json,
    job_details,
    job_json,
    job_prose,
    job_table,
    last_line,
    remark,
    show_instant,
)
from airunner.cli.table import aligned
from airunner.entries import Ended, Entry, Happening, Taken
from airunner.jobs import (
    Instant,
    Job,
    JobId,
    JobState,
    Outcome,
    Place,
    Reason,
    Sequence,
    WorkerId,
)
from airunner.reports import Chunk, CloneFailed, Output, OutputCut, ProcessFailed, Stream
from airunner.seal import Link, Seal
from airunner.spec import JobSpec
from airunner.waiting import Waiting

NOW = Instant(1_900_000_000_000)


def job(command: str = "make", *args: str, outcome: Outcome | None = None) -> Job:
    return Job(
        id=JobId("id-1"),
        spec=JobSpec(command=command, args=args),
        place=Place(1),
        created_at=Instant(NOW - 60_000),
        updated_at=NOW,
        attempt=1,
        state=outcome.state if outcome else JobState.SCHEDULED,
        outcome=outcome,
        finished_at=NOW if outcome else None,
    )


def entry(what: Happening, first: int = 4, last: int = 4) -> Entry:
    return Entry(first=Sequence(first), last=Sequence(last), at=NOW, attempt=2, what=what)


def test_an_instant_is_shown_in_utc_with_milliseconds() -> None:
    assert show_instant(Instant(250)) == "1970-01-01T00:00:00.250Z"


def test_a_job_in_line_has_neither_exit_code_nor_reason() -> None:
    said = job_json(job())
    assert (said["id"], said["state"], said["queue"]) == ("id-1", "scheduled", "default")
    assert (said["attempt"], said["exit_code"], said["reason"]) == (1, None, None)


def test_a_finished_job_says_how_it_ended() -> None:
    said = job_json(job(outcome=Outcome(reason=Reason.EXITED, exit_code=3)))
    assert (said["state"], said["exit_code"], said["reason"]) == ("failed", 3, "exited")


def test_each_chunk_of_output_is_an_object_with_its_own_sequence() -> None:
    chunks = (Chunk(Stream.STDOUT, b"one\n", NOW), Chunk(Stream.STDERR, b"two\n", NOW))
    said = list(entry_json(entry(Output(chunks), 4, 5)))
    assert [(each["sequence"], each["stream"], each["output"]) for each in said] == [
        (4, "stdout", "one\n"),
        (5, "stderr", "two\n"),
    ]
    assert {(each["type"], each["attempt"]) for each in said} == {("output", 2)}


def test_every_event_has_the_servers_time_and_output_also_the_workers() -> None:
    chunk = Chunk(Stream.STDOUT, b"one\n", Instant(NOW - 40))
    (said,) = entry_json(entry(Output((chunk,))))
    assert (said["timestamp"], said["written_at"]) == (show_instant(NOW), show_instant(chunk.at))


def test_output_that_is_not_utf8_comes_with_its_bytes() -> None:
    (said,) = entry_json(entry(Output((Chunk(Stream.STDOUT, b"\xff\0", NOW),))))
    assert said["output"] == "\ufffd\0"
    assert base64.b64decode(str(said["output_base64"])) == b"\xff\0"


def test_the_end_is_told_with_its_outcome() -> None:
    outcome = Outcome(reason=Reason.SIGNALED, exit_code=137, signal=9, ended_at=NOW)
    (said,) = entry_json(entry(Ended(JobState.FAILED, outcome)))
    assert (said["type"], said["state"], said["reason"]) == ("finished", "failed", "signaled")
    assert (said["exit_code"], said["signal"], said["ended_at"]) == (137, 9, show_instant(NOW))


def test_a_seal_is_shown_with_its_digest_in_hexadecimal() -> None:
    seal = Seal(count=4, size=9, cut=0, digest=Link(bytes(range(32))))
    outcome = Outcome(reason=Reason.EXITED, exit_code=0)
    (said,) = entry_json(entry(Ended(JobState.COMPLETED, outcome, seal)))
    assert said["seal"] == {"count": 4, "size": 9, "cut": 0, "digest": bytes(range(32)).hex()}
    assert json.loads(json.dumps(said)) == said


def test_a_job_that_waits_says_why() -> None:
    waiting = Waiting(queue="default", ahead=3, workers=1, slots=2, busy=2)
    assert job_details(job(), waiting)["waiting"] == waiting.explanation
    assert any(waiting.explanation in line for line in job_prose(job(), waiting))


def test_a_command_cannot_talk_to_the_terminal_that_lists_it() -> None:
    lines = job_table([job("echo", "\x1b]0;title\x07")], NOW, colour=False, headings=False)
    assert "\x1b" not in lines[0]
    assert "\\x1b]0;title\\x07" in lines[0]


def test_columns_are_aligned_below_their_headings() -> None:
    heading, line = job_table([job()], NOW, colour=False, headings=True)
    assert heading.index("QUEUE") == line.index("default")
    assert heading.index("COMMAND") == line.index("make")


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_lines_fit_the_terminal(width: int) -> None:
    listed = [job("make", "x" * 300), job("printf", "日本語" * 30)]
    lines = job_table(listed, NOW, colour=False, headings=True, width=width)
    assert max(map(cell_len, lines)) <= width
    assert all(line.startswith(("ID", "id-1")) for line in lines)
    assert all(line.endswith("…") for line in lines[1:])


def test_the_least_needed_columns_make_room_for_the_command() -> None:
    wide, narrow = (
        job_table([job("make", "test")], NOW, colour=False, headings=True, width=width)
        for width in (80, 50)
    )
    assert "TRY" in wide[0]
    assert "TRY" not in narrow[0]
    assert narrow[0].index("COMMAND") == narrow[1].index("make test")


def test_the_next_page_goes_on_in_the_same_columns() -> None:
    heading, first = job_table([job()], NOW, colour=False, headings=True)
    ended = job(outcome=Outcome(reason=Reason.EXITED, exit_code=3))
    (next_page,) = job_table([ended], NOW, colour=False, headings=False)
    assert heading.index("COMMAND") == first.index("make") == next_page.index("make")


def test_wide_characters_do_not_pull_columns_apart() -> None:
    first, second = aligned([("日本", "a"), ("e\u0301", "b")])
    assert cell_len(first[:-1]) == cell_len(second[:-1])


def test_states_have_colours_where_colours_may_be() -> None:
    (line,) = job_table([job()], NOW, colour=True, headings=False)
    assert "\x1b[33mscheduled\x1b[0m" in line


@pytest.mark.parametrize("reason", list(Reason))
def test_every_end_has_its_words(reason: Reason) -> None:
    words = ending(JobState.FAILED, Outcome(reason=reason, error="because"))
    assert words.endswith(": because")
    assert not words.startswith(":")


@pytest.mark.parametrize(
    "what", [ProcessFailed("no such command: 'x'"), CloneFailed("ended with 128", "a\nfatal: x\n")]
)
def test_an_error_is_not_told_twice(what: ProcessFailed | CloneFailed) -> None:
    told = last_line(what)
    assert str(remark(what)).endswith(told)
    outcome = Outcome(reason=Reason.SETUP_FAILED, error=f"checkout failed: {told}")
    assert ending(JobState.FAILED, outcome, told) == "could not be set up"


def test_a_failed_clone_is_remarked_with_what_git_said() -> None:
    assert remark(CloneFailed("exit 128", "fatal: no such ref\n")) == (
        "the clone failed: exit 128; fatal: no such ref"
    )


def test_a_cut_is_remarked_with_its_size() -> None:
    assert remark(OutputCut(1, 2048)) == "2.0 KiB of output were cut here: a limit was reached"


def test_what_a_person_need_not_know_is_not_remarked() -> None:
    assert remark(Taken(WorkerId("w"))) is None
