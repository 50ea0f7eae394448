"""The parts in which the server decides a batch of many reports, so that other tasks run between."""

from collections.abc import Iterator
from typing import Final

from airunner.model.limits import REPORTS_PER_BATCH_MAX
from airunner.model.protocol.worker_protocol import Batch, FromWorker
from airunner.model.reports import count_sequences

REPORTS_TURN: Final = 1_000  # reports that are decided without a turn of other tasks


def parts(message: FromWorker) -> Iterator[FromWorker]:
    """The message; a batch of many reports in several, so that none holds the server for long."""
    if (
        not isinstance(message, Batch)
        or not REPORTS_TURN < len(message.reports) <= REPORTS_PER_BATCH_MAX
        or message.first < 1
    ):
        yield message
        return
    token, first, reports = message.token, message.first, message.reports
    for at in range(0, len(reports), REPORTS_TURN):
        part = reports[at : at + REPORTS_TURN]
        yield Batch(token, first, part)
        first += sum(map(count_sequences, part))
