"""Queues as lines of a table."""

from collections.abc import Sequence

from airunner.cli.render.table import aligned
from airunner.model.job_query import QueueStatistics
from airunner.model.jobs import JobState


def statistics_table(found: Sequence[QueueStatistics]) -> list[str]:
    """A heading, and a line for each queue."""
    states = [state.value.upper() for state in JobState]
    rows: list[Sequence[str]] = [("QUEUE", *states, "WORKERS", "BUSY")]
    for each in found:
        counts = [str(each.counts.get(state, 0)) for state in JobState]
        rows.append((each.queue, *counts, str(each.workers), f"{each.busy} of {each.slots}"))
    return aligned(rows)
