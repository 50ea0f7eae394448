"""The logs of the server and the worker: lines on standard error, for people or as JSON.

The name of an event has underscores, so it is a single word in both formats. A log that nobody reads
holds up no job and no server (stderr_lines.py). In lines for people, each field is escaped
(render/terminal_text.py): the name of a worker or a path may hold characters that act on a terminal.
JSON is ASCII.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from airunner.cli.exit_codes import USAGE, CommandFailed
from airunner.cli.processes.stderr_lines import StderrLines, pipe_sized
from airunner.cli.render.streams import STDERR
from airunner.cli.render.terminal_text import printable

DROPPED: Final = "log_lines_dropped"  # the event that counts lines for which there was no room


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


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
    lines = StderrLines()
    journal: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream) if stream else lines,
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    lines.on_dropped = lambda count: journal.warning(DROPPED, count=count)
    return journal


def open_lines(
    format: LogFormat, stream: TextIO | None = None
) -> Callable[[Iterable[tuple[str, Mapping[str, object]]]], None]:
    """A function that writes many events, each as a line like info() of open_journal()."""
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    show = _console_renderer()
    to_stderr = StderrLines()
    out = structlog.WriteLogger(stream) if stream else to_stderr

    def render(event: EventDict) -> str:
        if format is LogFormat.JSON:
            return json.dumps(event)
        return show(None, "info", _escaped(None, "info", event))

    def tell_dropped(count: int) -> None:
        fields = {"count": count, "event": DROPPED, "level": "warning"}
        out.warning(render({**fields, **stamp(None, "warning", {})}))

    to_stderr.on_dropped = tell_dropped

    def write(events: Iterable[tuple[str, Mapping[str, object]]]) -> None:
        now = stamp(None, "info", {})
        lines = [
            render({**fields, "event": name, "level": "info", **now}) for name, fields in events
        ]
        for piece in pipe_sized(lines):
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


def log_format_named(name: str) -> LogFormat:
    """The format that --log-format names. Raises CommandFailed for an unknown format."""
    if name not in list(LogFormat):
        raise CommandFailed(f"--log-format: {name!r} is not {' or '.join(LogFormat)}", USAGE)
    return LogFormat(name)
