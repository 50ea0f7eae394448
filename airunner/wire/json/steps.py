"""The JSON of a job's steps."""

from collections.abc import Sequence

from airunner.model.steps import Step
from airunner.wire.json.times import Json


def steps_json(steps: Sequence[Step]) -> list[Json]:
    """The steps of a spec, in their order."""
    return [
        {
            "name": each.name,
            "run": each.run,
            "environment": dict(each.environment),
            "working_directory": each.working_directory,
            "timeout_seconds": each.timeout_seconds,
            "continue_on_error": each.continue_on_error,
            "when": each.when.value,
            "background": each.background,
        }
        for each in steps
    ]
