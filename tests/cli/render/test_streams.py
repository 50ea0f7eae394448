"""Writes to slow readers and to closed pipes."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airunner.cli.render.streams import StdoutClosed, send
from airunner.cli.render.terminal_text import printable

HEAVY = {"grpc", "rich", "cryptography", "yaml", "jwt", "structlog", "airunner.wire"}
HEAVY |= {"asyncio", "msgspec", "tempfile", "airunner.model.jobs", "airunner.cli.commands.bench"}


def test_a_slow_reader_gets_every_byte_while_the_loop_goes_on() -> None:
    async def story() -> None:
        reading, writing = os.pipe()
        data, found, others = os.urandom(300_000), bytearray(), 0
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send(writing, data))
            while len(found) < len(data):
                await asyncio.sleep(0)
                others += not sending.done()
                found += os.read(reading, 10_000)
        os.close(reading)
        os.close(writing)
        assert others  # the loop was not blocked while the pipe was full
        assert bytes(found) == data

    asyncio.run(story())


def test_a_sender_that_waits_for_room_can_be_cancelled() -> None:
    async def story() -> None:
        reading, writing = os.pipe()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await send(writing, bytes(1_000_000))
        os.close(reading)
        os.close(writing)

    asyncio.run(story())


def test_a_file_gets_every_byte(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    with (tmp_path / "output").open("wb") as file:
        asyncio.run(send(file.fileno(), data))
        asyncio.run(send(file.fileno(), data[:100]))
    assert (tmp_path / "output").read_bytes() == data + data[:100]


def test_a_reader_that_went_away_is_told_apart_on_standard_output() -> None:
    program = """if True:
        import asyncio
        from airunner.cli.render.streams import StdoutClosed, send
        try:
            asyncio.run(send(1, bytes(1_000_000)))
        except StdoutClosed:
            raise SystemExit(7)
    """
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", program], stdout=writing, check=False)
    os.close(writing)
    assert done.returncode == 7
    assert issubclass(StdoutClosed, Exception)


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert printable("a\x1b[31m\nü") == "a\\x1b[31m\\nü"


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    program = f"import sys, airunner.cli.main; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
