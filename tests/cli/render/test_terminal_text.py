"""Text that is safe to print, on every way to a terminal or a log line."""

import io
import json
import os
import subprocess
import sys

import pytest
from msgspec import structs

from airunner.cli.processes.logging import LogFormat, open_journal, open_lines
from airunner.cli.render.jobs import job_prose, job_table
from airunner.cli.render.table import aligned, cropped
from airunner.cli.render.terminal_text import TerminalText, coloured, json_line, printable
from airunner.model.jobs import JobId, Subject
from airunner.model.spec import JobSpec
from tests.cli.conftest import Shell
from tests.wire.json.sample_jobs import NOW, asked

# C0, DEL, C1 with the 8-bit CSI and OSC, every bidirectional control, line and paragraph separators,
# invisible characters, a lone surrogate, and a byte that is not UTF-8 as Python reads arguments.
OBEYED = (
    *map(chr, (*range(0x20), *range(0x7F, 0xA0))),
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    *"\u200b\u2028\u2029\ufeff\U000e0001",
    *("\ud800", "\udcff"),
)
_SAY = """
from airunner.cli.render.streams import note, say
from airunner.cli.render.terminal_text import TerminalText
say({text!r})
note({text!r})
say(TerminalText("\\x1b[1mbold\\x1b[0m"))
"""


@pytest.mark.parametrize("obeyed", OBEYED, ids=ascii)
def test_a_character_that_a_terminal_obeys_becomes_an_escape(obeyed: str) -> None:
    assert printable(f"a{obeyed}ü").isprintable()
    assert printable(f"a{obeyed}ü").startswith("a\\")
    assert printable(printable(obeyed)) == printable(obeyed)
    assert aligned([(obeyed, obeyed)])[0].isprintable()
    assert cropped(obeyed * 9, 12).isprintable()


@pytest.mark.parametrize("obeyed", OBEYED, ids=ascii)
def test_json_in_a_terminal_is_not_obeyed_and_means_the_same(obeyed: str) -> None:
    value = {"text": f"ü\\{obeyed}\U0001f600", obeyed: [obeyed]}
    assert json_line(value).isprintable()
    assert json.loads(json_line(value)) == value
    assert "ü" in json_line(value)


def test_colours_are_obeyed_and_what_they_colour_is_not() -> None:
    line = coloured("\x9b31mred", "1")
    assert printable(line) == "\x1b[1m\\x9b31mred\x1b[0m"
    assert printable(f"{line}") == "\\x1b[1m\\x9b31mred\\x1b[0m"  # joined, it is plain text again
    assert printable(TerminalText("\x1b[H")) == "\x1b[H"


@pytest.mark.parametrize("text", ["\x9b31m\u202e", "\ud800", "a\nb\r"], ids=ascii)
def test_results_and_notes_are_escaped_and_never_fail(text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SAY.format(text=text)], capture_output=True, check=True
    )
    assert done.stdout.decode().splitlines() == [printable(text), "\x1b[1mbold\x1b[0m"]
    assert done.stderr.decode().splitlines() == [f"airunner: {printable(text)}"]


def test_a_job_in_a_table_and_in_prose_has_nothing_that_a_terminal_obeys() -> None:
    bad = "x\x9b31m\u202e"
    spec = JobSpec(command="x", branch=bad, metadata={bad: bad}, environment={"A": bad}, owner=bad)
    ids = JobId(bad)
    job = structs.replace(asked(spec), submitter=Subject(bad), retry_of=ids, id=ids)
    lines = [
        *job_prose(job, None),
        *job_table([job], NOW, colour=False, headings=True),
        *job_table([job], NOW, colour=False, headings=True, width=60),
    ]
    assert all(line.isprintable() for line in lines)
    assert ["branch", "x\\x9b31m\\u202e"] in [line.split() for line in lines]


def test_a_log_line_has_nothing_that_a_terminal_obeys() -> None:
    out = io.StringIO()
    journal, lines = open_journal(LogFormat.CONSOLE, out), open_lines(LogFormat.CONSOLE, out)
    journal.info("said", worker="\x9b31m", path="\udcff", list=["\u202e"])
    lines([("said", {"worker": "\x1b]0;title\x07\u202e"})])
    try:
        raise ValueError("\x9b31m\u202e\nsecond")
    except ValueError:
        journal.exception("failed")
    text = out.getvalue()
    assert all(line.isprintable() for line in text.splitlines())
    assert "worker=\\x9b31m" in text
    assert text.splitlines()[-1] == "second"


def test_a_branch_does_not_act_on_the_terminal_of_a_person_who_shows_the_job(
    embedded: Shell,
) -> None:
    id = embedded.submit("--branch", "x\x9b31mred", "--name", "n", "--no-checkout", "--", "true")
    for words in (["show", id], ["show", id, "--json"], ["list"], ["monitor", id, "--json"]):
        assert b"\xc2\x9b" not in os.fsencode(embedded.run(*words).stdout)
