"""The JSON of queue statistics."""

from airunner.model.job_query import QueueStatistics
from airunner.model.jobs import JobState
from airunner.wire.json.times import Json, show_instant


def statistics_json(statistics: QueueStatistics) -> Json:
    """One queue: its jobs in each state, its oldest scheduled job, its workers and their slots."""
    return {
        "queue": statistics.queue,
        **{state.value: statistics.counts.get(state, 0) for state in JobState},
        "oldest": show_instant(statistics.oldest),
        "workers": statistics.workers,
        "slots": statistics.slots,
        "busy": statistics.busy,
    }
