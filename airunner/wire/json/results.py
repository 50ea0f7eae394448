"""The JSON of step results."""

from collections.abc import Sequence

from airunner.model.jobs import StepResult
from airunner.wire.json.times import Json, show_instant


def results_json(results: Sequence[StepResult]) -> list[Json]:
    """The result of each step, in the order of the steps."""
    return [
        {
            "name": each.name,
            "status": each.status.value,
            "exit_code": each.exit_code,
            "started_at": show_instant(each.started_at),
            "ended_at": show_instant(each.ended_at),
            "duration_ms": step_duration(each),
        }
        for each in results
    ]


def step_duration(result: StepResult) -> int | None:
    """How long a step ran, in milliseconds; None if it never started or never ended."""
    if result.started_at is None or result.ended_at is None:
        return None
    return result.ended_at - result.started_at
