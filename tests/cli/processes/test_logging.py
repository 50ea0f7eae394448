"""The lines of the server's log, from open_journal() and from open_lines()."""

import io
import json
import select
import socket
import subprocess
import sys
from collections.abc import Mapping

import pytest

from airunner.cli.processes.logging import LogFormat, open_journal, open_lines

SAID: list[tuple[str, Mapping[str, object]]] = [
    ("job_leased", {"job": "one", "attempt": 1}),
    ("job_completed", {"job": "ä", "code": None}),
]
_WRITE = """
from airunner.cli.processes.logging import LogFormat, open_lines
open_lines(LogFormat.JSON)([("said", {"number": n, "text": "x" * (n % 500)}) for n in range(1000)])
open_lines(LogFormat.JSON)([("said", {"text": "x" * 100_000})])
"""
_GATHER = """
import asyncio
from airunner.cli.processes.logging import LogFormat, open_journal
journal = open_journal(LogFormat.JSON)
async def main():
    for n in range(3):
        journal.info("gathered", number=n)
    journal.error("at_once")
    journal.info("last")
asyncio.run(main())
journal.info("outside")
"""
_PAUSE = """
import asyncio, sys
from airunner.cli.processes.logging import LogFormat, open_journal, open_lines
journal = open_journal(LogFormat.JSON)
if sys.argv[1] == "open_lines":
    lines = open_lines(LogFormat.JSON)
    say = lambda event, **fields: lines([(event, fields)])
else:
    say = journal.info
async def main():
    for n in range(30_000):
        say("said", number=n)
    await asyncio.sleep(0)
    print("all said", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    say("last")
asyncio.run(main())
"""


@pytest.mark.parametrize("format", list(LogFormat))
def test_lines_that_are_written_together_look_as_if_each_had_been_by_itself(
    format: LogFormat,
) -> None:
    one, many = io.StringIO(), io.StringIO()
    journal = open_journal(format, one)
    for name, fields in SAID:
        journal.info(name, **fields)
    open_lines(format, many)(SAID)
    assert untimed(many.getvalue(), format) == untimed(one.getvalue(), format)
    assert len(many.getvalue().splitlines()) == len(SAID)


def test_lines_that_are_written_together_go_into_a_pipe_whole() -> None:
    """A process that logs to the same pipe never writes into a line."""
    writes = writes_of(_WRITE)
    assert all(len(each) <= select.PIPE_BUF for each in writes)
    whole = [each for each in writes if b"number" in each]  # the others are of a longer line
    assert all(each.endswith(b"\n") for each in whole)
    assert sum(map(len, whole)) / len(whole) > select.PIPE_BUF / 2
    said = [json.loads(line) for line in b"".join(writes).splitlines()]
    assert [line.get("number") for line in said] == [*range(1000), None]


def test_lines_gather_until_one_is_a_warning_or_worse_and_none_is_left_at_the_end() -> None:
    said = [
        [json.loads(line)["event"] for line in write.splitlines()] for write in writes_of(_GATHER)
    ]
    assert said == [["gathered"] * 3, ["at_once"], ["last"], ["outside"]]


@pytest.mark.parametrize("opened", ["open_journal", "open_lines"])
def test_a_reader_that_pauses_holds_nobody_up_and_is_told_how_many_lines_it_has_missed(
    opened: str,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PAUSE, opened],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"all said\n"  # and not a byte of the log was read
        lines = [json.loads(process.stderr.readline())]
        while lines[-1]["event"] != "log_lines_dropped":
            lines.append(json.loads(process.stderr.readline()))
        process.stdin.close()
        lines += map(json.loads, process.stderr.readlines())
    *said, dropped, last = lines
    assert [line["number"] for line in said] == [*range(len(said))]
    assert len(said) + dropped["count"] == 30_000
    assert (dropped["level"], last["event"]) == ("warning", "last")


def writes_of(program: str) -> list[bytes]:
    """The writes of a Python program to its standard error, each by itself."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps writes apart
    writes = list[bytes]()
    with ours, subprocess.Popen([sys.executable, "-c", program], stderr=theirs.fileno()):
        theirs.close()
        while written := ours.recv(200_000):
            writes.append(written)
    return writes


def untimed(text: str, format: LogFormat) -> list[object]:
    """The lines without their times. The fields of JSON keep their order."""
    if format is LogFormat.CONSOLE:
        return [line.split(" ", 1)[1] for line in text.splitlines()]
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(line.pop("timestamp").endswith("Z") for line in lines)
    return [[*line.items()] for line in lines]
