"""What the server logs of itself: one line for each step that a job takes.

Lines are for people (console) or for machines (json). None has a token, a value of an
environment variable or output in it: a line is made of the fields that are named here.
"""

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TextIO, assert_never

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from airunner.facts import (
    CancelRequested,
    Enqueued,
    Event,
    Finished,
    Forgotten,
    Leased,
    OutputDropped,
    Renewed,
    Reported,
    Returned,
)
from airunner.jobs import Job


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


def open_journal(format: LogFormat, stream: TextIO) -> FilteringBoundLogger:
    """A log that writes to a stream, a line each, with times in UTC."""
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
        processors += [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    journal: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return journal


def job_lines(journal: FilteringBoundLogger) -> Callable[[Event, Job | None], None]:
    """A listener that writes a line for each step of a job, once it is durable."""

    def write(event: Event, job: Job | None) -> None:
        if (told := _line(event)) is not None:
            name, fields = told
            journal.info(name, job=event.fact.id, **fields)

    return write


def _line(event: Event) -> tuple[str, Mapping[str, object]] | None:
    match event.fact:
        case Enqueued(spec=spec, submitter=submitter, retry_of=retry_of):
            fields = {"queue": spec.queue, "submitter": submitter, "command": spec.command}
            return "job enqueued", fields | ({"retry_of": retry_of} if retry_of else {})
        case Leased(_, attempt, lease):
            return "job leased", {"attempt": attempt, "worker": lease.worker}
        case Returned(_, attempt, ending, failures):
            return "job returned", {"attempt": attempt, "ending": ending, "failures": failures}
        case CancelRequested(_, by):
            return "job cancel requested", {"by": by}
        case Finished(state=state, outcome=outcome):
            return f"job {state}", {"reason": outcome.reason, "exit_code": outcome.exit_code}
        case OutputDropped():
            return "job output dropped", {}
        case Forgotten():
            return "job forgotten", {}
        case Renewed() | Reported():
            return None
        case _:
            assert_never(event.fact)
