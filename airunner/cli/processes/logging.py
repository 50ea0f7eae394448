"""The logs of the server and the worker: lines on standard error, for people or as JSON.

The name of an event has underscores, so it is a single word in both formats. A line that cannot be
written, because the reader has closed its end or the disk is full, is dropped: a failing log ends no
job and no server. In lines for people, each field is escaped (render/terminal_text.py): the name of a
worker or a path may hold characters that act on a terminal. JSON is ASCII.
"""

import asyncio
import atexit
import contextlib
import json
import logging
import os
import select
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from airunner.cli.exit_codes import USAGE, CommandFailed
from airunner.cli.render.streams import STDERR, before_notes, write
from airunner.cli.render.terminal_text import printable

GATHER_SECONDS: Final = 0.01  # a line waits so long for further lines


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


class _StderrLines:
    """Writes lines to standard error, and drops lines that cannot be written.

    Each write wakes the reader, which then takes the processor: four lines took 0.3 of the 1.7 ms
    that a worker needs for a /bin/true job. So within an event loop, lines are gathered for
    GATHER_SECONDS. A warning or worse is written at once.
    """

    def __init__(self) -> None:
        self._pending: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will write the pending lines
        atexit.register(self._flush)
        before_notes(self._flush)

    def info(self, line: str) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop in this thread; the loop's thread writes the pending lines
            if self._loop and self._loop.is_closed():
                self._flush()
            self._write([line])
            return
        self._pending.append(line)
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(GATHER_SECONDS, self._flush)

    def warning(self, line: str) -> None:
        self._flush()
        self._write([line])

    error = critical = warning

    def _flush(self) -> None:
        lines, self._pending, self._loop = self._pending, [], None
        self._write(lines)

    def _write(self, lines: Iterable[str]) -> None:
        with contextlib.suppress(OSError):
            for piece in _pipe_sized(lines):
                write(STDERR, f"{piece}\n".encode(errors="backslashreplace"))


def open_journal(
    format: LogFormat, stream: TextIO | None = None, *, level: int = logging.INFO
) -> FilteringBoundLogger:
    """A logger that writes lines to standard error or to a stream, with times in UTC."""
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if format is LogFormat.JSON:
        processors += [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        processors += [structlog.processors.format_exc_info, _escaped, _console_renderer()]
    journal: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream) if stream else _StderrLines(),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return journal


def open_lines(
    format: LogFormat, stream: TextIO | None = None
) -> Callable[[Iterable[tuple[str, Mapping[str, object]]]], None]:
    """A function that writes many events, each as a line like info() of open_journal()."""
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    show = _console_renderer()
    out = structlog.WriteLogger(stream) if stream else _StderrLines()

    def render(event: EventDict) -> str:
        if format is LogFormat.JSON:
            return json.dumps(event)
        return show(None, "info", _escaped(None, "info", event))

    def write(events: Iterable[tuple[str, Mapping[str, object]]]) -> None:
        now = stamp(None, "info", {})
        lines = [
            render({**fields, "event": name, "level": "info", **now}) for name, fields in events
        ]
        for piece in _pipe_sized(lines):
            out.info(piece)

    return write


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=os.isatty(STDERR), exception_formatter=structlog.dev.plain_traceback
    )


def _escaped(logger: object, method: str, event: EventDict) -> EventDict:
    """The event with each text as printable() makes it; a traceback keeps its lines."""
    for name, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if name == "exception" else [value]
            event[name] = "\n".join(map(printable, lines))
    return event


def _pipe_sized(lines: Iterable[str]) -> Iterator[str]:
    """Joins lines into pieces of at most PIPE_BUF bytes, which a shared pipe keeps together."""
    piece, size = list[str](), 0
    for line in lines:
        more = len(line.encode(errors="backslashreplace")) + 1
        if piece and size + more > select.PIPE_BUF:
            yield "\n".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += more
    if piece:
        yield "\n".join(piece)


def log_format_named(name: str) -> LogFormat:
    """The format that --log-format names. Raises CommandFailed for an unknown format."""
    if name not in list(LogFormat):
        raise CommandFailed(f"--log-format: {name!r} is not {' or '.join(LogFormat)}", USAGE)
    return LogFormat(name)
