"""The codec of steps, their reports, and their results."""

import re
from collections.abc import Iterable

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import StepResult
from airunner.model.limits import STEPS_MAX, TITLE_BYTES_MAX
from airunner.model.reports import StepEnded, StepStarted
from airunner.model.steps import Step, StepCondition, read_condition
from airunner.model.validation import check_text_size
from airunner.wire.codec.enums import STEP_STATUSES
from airunner.wire.codec.times import decode_instant, decode_millis, encode_instant, encode_millis
from airunner.wire.job.v1 import job_pb2 as pb

_SHORT_CHARS = 200  # of a script or of a step's commands in a list of jobs
_BEGINNING = re.compile(rf"\S.{{0,{_SHORT_CHARS - 1}}}", re.DOTALL)


def shortened(text: str, *, whole: bool) -> str:
    """The text of a script, or for a list of jobs its beginning without leading blanks."""
    if whole or len(text) <= _SHORT_CHARS:
        return text
    beginning = _BEGINNING.search(text)
    assert beginning, "a script is not blank"
    return beginning[0]


def encode_steps(
    steps: Iterable[Step], *, with_values: bool = True, whole: bool = True
) -> pb.Steps:
    """Encode steps; `with_values` and `whole` as in encode_spec()."""
    return pb.Steps(
        steps=[
            pb.Step(
                run=shortened(each.run, whole=whole),
                name=each.name,
                environment={
                    name: value if with_values else "" for name, value in each.environment.items()
                },
                working_directory=each.working_directory,
                timeout_seconds=each.timeout_seconds,
                continue_on_error=each.continue_on_error,
                background=each.background,
                when="" if each.when is StepCondition.ON_SUCCESS else each.when,
            )
            for each in steps
        ]
    )


def decode_steps(message: pb.Steps) -> tuple[Step, ...]:
    """Decode steps. InvalidRequest names the field that breaks a rule, as in `steps[1].run`."""
    return tuple(_decode_step(each, f"steps[{index}]") for index, each in enumerate(message.steps))


def _decode_step(step: pb.Step, place: str) -> Step:
    try:
        return Step(
            run=step.run,
            name=step.name,
            environment=dict(step.environment),
            working_directory=step.working_directory,
            timeout_seconds=step.timeout_seconds,
            continue_on_error=step.continue_on_error,
            when=read_condition("when", step.when),
            background=step.background,
        )
    except InvalidRequest as error:
        raise InvalidRequest(f"{place}.{error.field}", error.why) from None


def encode_step_result(result: StepResult) -> pb.StepResult:
    return pb.StepResult(
        name=result.name,
        status=STEP_STATUSES.encode(result.status),
        exit_code=result.exit_code,
        started_at=encode_instant(result.started_at),
        ended_at=encode_instant(result.ended_at),
    )


def decode_step_result(result: pb.StepResult) -> StepResult:
    return StepResult(
        name=_title(result.name),
        status=STEP_STATUSES.decode(result.status, "steps.status"),
        exit_code=result.exit_code if result.HasField("exit_code") else None,
        started_at=decode_instant(result.started_at, "steps.started_at"),
        ended_at=decode_instant(result.ended_at, "steps.ended_at"),
    )


def encode_step_report(report: StepStarted | StepEnded, first: int) -> pb.JobEvent:
    match report:
        case StepStarted(index, name):
            return pb.JobEvent(
                sequence=first,
                event_type=pb.EVENT_TYPE_STEP_START,
                step_start=pb.StepStartEvent(index=index, name=name),
            )
        case StepEnded(index, name, status, exit_code, duration):
            ended = pb.StepEndEvent(
                index=index,
                name=name,
                status=STEP_STATUSES.encode(status),
                exit_code=exit_code,
                duration=encode_millis(duration),
            )
            return pb.JobEvent(sequence=first, event_type=pb.EVENT_TYPE_STEP_END, step_end=ended)


def decode_step_start(event: pb.JobEvent) -> StepStarted:
    return StepStarted(_index(event.step_start.index), _title(event.step_start.name))


def decode_step_end(event: pb.JobEvent) -> StepEnded:
    data = event.step_end
    return StepEnded(
        _index(data.index),
        _title(data.name),
        STEP_STATUSES.decode(data.status, "step_end.status"),
        data.exit_code if data.HasField("exit_code") else None,
        decode_millis(data.duration, "step_end.duration"),
    )


def decode_output_step(batch: pb.OutputBatchEvent) -> int | None:
    """The index of the step that wrote the output; None: not a job of steps."""
    return _index(batch.step) if batch.HasField("step") else None


def _title(name: str) -> str:
    """The title of a step, checked."""
    check_text_size("step.name", name, TITLE_BYTES_MAX, "TITLE_BYTES_MAX")
    return name


def _index(index: int) -> int:
    """The index of a step, checked."""
    if not 0 <= index < STEPS_MAX:
        raise InvalidRequest(
            "step", f"{index} is not the index of a step: 0 to {STEPS_MAX - 1} (STEPS_MAX)"
        )
    return index
