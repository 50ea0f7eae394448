"""The intake of a worker's words: texts are cut to their limit, and large output is divided.

The model takes any text and any size, because a log may have them already. A report that is too long is
cut, not refused: a worker would repeat a refused report for ever.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec.structs import replace as with_fields

from airunner.model.jobs import Outcome
from airunner.model.limits import (
    INTAKE_TEXT_BYTES_MAX,
    LATER_TEXT_BYTES_MAX,
    LONG_REPORTS_MAX,
    MIB,
    OUTCOME_ERROR_BYTES_MAX,
)
from airunner.model.reports import TEXTS, Chunk, Output, OutputCut, Report
from airunner.system.bounded_text import bounded_text

CHUNK_BYTES_MAX: Final = 1 * MIB  # output in one sequence of a job


def bounded_reports(
    reports: Iterable[tuple[int, Report]], before: int
) -> Iterator[tuple[int, Report]]:
    """The reports, with their texts cut; `before` is the number of earlier ones of the job.

    INTAKE_TEXT_BYTES_MAX is the limit of the first LONG_REPORTS_MAX, else LATER_TEXT_BYTES_MAX.
    """
    for number, report in reports:
        if isinstance(report, Output | OutputCut):
            yield number, report
            continue
        long = before < LONG_REPORTS_MAX
        before += 1
        yield number, _bounded(report, INTAKE_TEXT_BYTES_MAX if long else LATER_TEXT_BYTES_MAX)


def _bounded(report: Report, size: int) -> Report:
    """The report, with its texts cut to `size` bytes."""
    long: dict[str, Any] = {  # Any: the fields of any report
        name: bounded_text(text, size)
        for name in TEXTS[type(report)]
        if len(text := getattr(report, name)) * 4 > size
    }
    return replace(report, **long) if long else report


def bounded_outcome(outcome: Outcome) -> Outcome:
    """The outcome, with its error cut to OUTCOME_ERROR_BYTES_MAX."""
    error = bounded_text(outcome.error, OUTCOME_ERROR_BYTES_MAX)
    return outcome if error == outcome.error else with_fields(outcome, error=error)


def divided(reports: Iterable[tuple[int, Report]], sent: int) -> Iterator[tuple[int, Report]]:
    """The reports, with each chunk of more than CHUNK_BYTES_MAX in several chunks.

    A worker numbers its chunks, so a piece has no number of its own: the last piece has the number
    of the chunk. A chunk whose number is not above `sent` is stored already, and stays whole.
    """
    for number, report in reports:
        if not isinstance(report, Output) or report.size <= CHUNK_BYTES_MAX:
            yield number, report
            continue
        for index, chunk in enumerate(report.chunks):
            own = number + index if number else 0
            if own and own <= sent:
                yield own, Output((chunk,), report.step)
                continue
            *others, last = _pieces(chunk)
            yield from ((0, Output((piece,), report.step)) for piece in others)
            yield own, Output((last,), report.step)


def _pieces(chunk: Chunk) -> Sequence[Chunk]:
    starts = range(0, max(1, len(chunk.data)), CHUNK_BYTES_MAX)
    return [replace(chunk, data=chunk.data[at : at + CHUNK_BYTES_MAX]) for at in starts]
