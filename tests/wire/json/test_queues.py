"""The JSON of queue statistics."""

from airunner.model.job_query import QueueStatistics
from airunner.model.jobs import Instant, JobState
from airunner.wire.json.queues import statistics_json


def test_a_queue_has_a_count_for_every_state() -> None:
    statistics = QueueStatistics(
        queue="nightly",
        counts={JobState.RUNNING: 2},
        oldest=Instant(250),
        workers=1,
        slots=4,
        busy=2,
    )
    assert statistics_json(statistics) == {
        "queue": "nightly",
        **{state.value: 2 if state is JobState.RUNNING else 0 for state in JobState},
        "oldest": "1970-01-01T00:00:00.250Z",
        "workers": 1,
        "slots": 4,
        "busy": 2,
    }
