"""Jobs as JSON, as tables and as prose."""

import pytest
from rich.cells import cell_len

from airunner.cli.jobs_shown import job_details, job_json, job_prose, job_table
from airunner.cli.table import aligned
from airunner.jobs import Instant, Job, JobId, JobState, Outcome, Place, Reason
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


def test_a_job_in_line_has_neither_exit_code_nor_reason() -> None:
    said = job_json(job())
    assert (said["id"], said["state"], said["queue"]) == ("id-1", "scheduled", "default")
    assert (said["attempt"], said["exit_code"], said["reason"]) == (1, None, None)


def test_a_finished_job_says_how_it_ended() -> None:
    said = job_json(job(outcome=Outcome(reason=Reason.EXITED, exit_code=3)))
    assert (said["state"], said["exit_code"], said["reason"]) == ("failed", 3, "exited")


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
