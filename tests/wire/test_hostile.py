"""Invalid messages of hostile clients are refused with the name of the field, and crash nothing."""

import random
from collections.abc import Callable, Iterable

import pytest
from google.protobuf.message import DecodeError, Message

from airunner.model.errors import InvalidRequest
from airunner.model.limits import STEPS_MAX
from airunner.wire.codec.artifacts import decode_artifact, encode_artifact
from airunner.wire.codec.jobs import decode_job, encode_job
from airunner.wire.codec.outcomes import decode_outcome, encode_outcome
from airunner.wire.codec.reports import decode_reports, fill_report
from airunner.wire.codec.specs import decode_spec, encode_spec
from airunner.wire.codec.worker_protocol import decode_from_worker, encode_from_worker
from airunner.wire.job.v1 import job_pb2 as pb
from tests.promises import holds, promise
from tests.wire import samples

SHA256 = "0" * 64


def step(**fields: object) -> pb.Step:
    return pb.Step(**{"run": "make", **fields})  # type: ignore[arg-type]  # invalid on purpose


def batch(step: int) -> pb.JobEvent:
    outputs = [pb.OutputItem(output=b"x")]
    return pb.JobEvent(output_batch=pb.OutputBatchEvent(outputs=outputs, step=step))


@holds("server/malformed-input-is-refused")
@pytest.mark.parametrize(
    ("params", "field"),
    [
        (pb.JobParams(command="x", script="y"), "script"),
        (pb.JobParams(command="x", steps=pb.Steps()), "steps"),
        (pb.JobParams(script="x", steps=pb.Steps(steps=[step()])), "steps"),
        (pb.JobParams(script=" "), "script"),
        (pb.JobParams(command="x", shell="sh"), "shell"),
        (pb.JobParams(steps=pb.Steps(steps=[step()] * (STEPS_MAX + 1))), "steps"),
        (pb.JobParams(steps=pb.Steps(steps=[step(), step(run="")])), "steps[1].run"),
        (pb.JobParams(steps=pb.Steps(steps=[step(name="\x1b[2J")])), "steps[0].name"),
        (
            pb.JobParams(steps=pb.Steps(steps=[step(timeout_seconds=-1)])),
            "steps[0].timeout_seconds",
        ),
        (
            pb.JobParams(steps=pb.Steps(steps=[step(working_directory="../x")])),
            "steps[0].working_directory",
        ),
        (pb.JobParams(steps=pb.Steps(steps=[step(environment={"=": ""})])), "steps[0].environment"),
        (pb.JobParams(source="../x"), "source"),
        (pb.JobParams(source="/etc"), "source"),
        (pb.JobParams(source="a", repository="/r"), "source"),
        (pb.JobParams(command="x", artifacts=["../x"]), "artifacts"),
        (pb.JobParams(command="x", artifacts=[""]), "artifacts"),
        (pb.JobParams(command="x", artifacts=["x"] * 65), "artifacts"),
        (pb.JobParams(command="x", name="a\nb"), "name"),
    ],
)
def test_a_job_that_breaks_a_rule_of_steps_is_refused_with_its_field(
    params: pb.JobParams, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_spec(params, "")
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (batch(-1), "step"),
        (batch(STEPS_MAX), "step"),
        (batch(2**31 - 1), "step"),
        (pb.JobEvent(step_start=pb.StepStartEvent(index=-1)), "step"),
        (pb.JobEvent(step_start=pb.StepStartEvent(index=STEPS_MAX)), "step"),
        (pb.JobEvent(step_start=pb.StepStartEvent(name="x" * 5_000)), "step.name"),
        (pb.JobEvent(step_end=pb.StepEndEvent(status=pb.STEP_STATUS_FAILED, index=-7)), "step"),
        (pb.JobEvent(step_end=pb.StepEndEvent()), "step_end.status"),
        (pb.JobEvent(artifact=pb.ArtifactEvent()), "events.event_data"),
    ],
)
def test_a_report_that_breaks_a_rule_of_steps_is_refused_with_its_field(
    event: pb.JobEvent, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_reports([event])
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("result", "field"),
    [
        (pb.StepResult(), "steps.status"),
        (pb.StepResult(status=pb.STEP_STATUS_FAILED, name="x" * 5_000), "step.name"),
    ],
)
def test_a_result_of_a_step_that_breaks_a_rule_is_refused_with_its_field(
    result: pb.StepResult, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_outcome(pb.JobResult(steps=[result]))
    assert refused.value.field == field


def test_more_results_than_a_job_can_have_steps_are_refused() -> None:
    results = [pb.StepResult(status=pb.STEP_STATUS_SKIPPED)] * (STEPS_MAX + 1)
    with pytest.raises(InvalidRequest, match="STEPS_MAX"):
        decode_outcome(pb.JobResult(steps=results))


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (pb.Artifact(), "artifact.path"),
        (pb.Artifact(path="a/../../etc/passwd", sha256=SHA256), "artifact.path"),
        (pb.Artifact(path="/etc/passwd", sha256=SHA256), "artifact.path"),
        (pb.Artifact(path="a\0b", sha256=SHA256), "artifact.path"),
        (pb.Artifact(path="a" * 4097, sha256=SHA256), "artifact.path"),
        (pb.Artifact(path="a", sha256=SHA256, size=-1), "artifact.size"),
        (pb.Artifact(path="a", sha256=SHA256, size=2**62), "artifact.size"),
        (pb.Artifact(path="a"), "artifact.sha256"),
        (pb.Artifact(path="a", sha256="../../../x"), "artifact.sha256"),
        (pb.Artifact(path="a", sha256="F" * 64), "artifact.sha256"),
    ],
)
def test_an_artifact_that_breaks_a_rule_is_refused_with_its_field(
    said: pb.Artifact, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_artifact(said)
    assert refused.value.field == field


def events() -> Iterable[pb.JobEvent]:
    for report in samples.REPORTS:
        fill_report(event := pb.JobEvent(), report, 7)
        yield event


CODECS: dict[str, tuple[Iterable[Message], Callable[..., object]]] = {
    "specs": (
        [encode_spec(each) for each in samples.SPECS],
        lambda said: decode_spec(said, "default"),
    ),
    "reports": (list(events()), lambda said: decode_reports([said])),
    "outcomes": ([encode_outcome(each) for each in samples.OUTCOMES], decode_outcome),
    "artifacts": ([encode_artifact(each) for each in samples.ARTIFACTS], decode_artifact),
    "jobs": ([encode_job(each) for each in samples.JOBS], decode_job),
    "what a worker says": (
        [encode_from_worker(iter([each])) for each in samples.FROM_WORKER],
        decode_from_worker,
    ),
}


@promise(
    "server/malformed-input-is-refused",
    "Malformed input is refused and ends nothing, steps and artifacts included. A list shows only "
    "the beginning of a script, so a page always fits in one message.",
)
@pytest.mark.parametrize("what", CODECS)
def test_bytes_that_a_dice_has_changed_are_understood_or_refused(what: str) -> None:
    messages, decode = CODECS[what]
    dice, refused = random.Random(what), 0
    for message in messages:
        whole = message.SerializeToString()
        for _ in range(200):
            data = bytearray(whole)
            for _ in range(dice.choice([1, 1, 2, 5]) if data else 0):
                data[dice.randrange(len(data))] = dice.choice(
                    [0, 1, 0x7F, 0xFF, dice.randrange(256)]
                )
            try:
                decode(type(message).FromString(bytes(data)))
            except (DecodeError, InvalidRequest):
                refused += 1
    assert refused
