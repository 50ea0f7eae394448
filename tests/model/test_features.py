"""The features that a job needs of its worker."""

import pytest

from airunner.model.errors import InvalidRequest
from airunner.model.protocol.features import ALL, NONE, Feature, Features, known, needed
from airunner.model.spec import Checkout, JobSpec
from airunner.model.steps import Step, StepCondition

PLAIN = Step(run="x")
REPOSITORY = "https://example.org/repo"
CASES: tuple[tuple[JobSpec, set[Feature]], ...] = (
    (JobSpec(command="x", merge_stderr=True), {Feature.MERGE_STDERR}),
    (JobSpec(command="x", repository=REPOSITORY, commit="main"), {Feature.REVISION}),
    (JobSpec(command="x", repository=REPOSITORY, commit="0123abcd"), set()),
    (JobSpec(source="x"), set()),
    (JobSpec(steps=()), set()),
    (JobSpec(steps=(PLAIN, Step(run="x", continue_on_error=True))), set()),
    (JobSpec(script="x", strict=True), {Feature.STRICT}),
    (JobSpec(source="x", strict=True), {Feature.STRICT}),
    (JobSpec(steps=(PLAIN, Step(run="x", when=StepCondition.ALWAYS))), {Feature.WHEN}),
    (JobSpec(command="x", artifacts_on_cancel=True), {Feature.ARTIFACTS_ON_CANCEL}),
    (JobSpec(steps=(Step(run="x", background=True), PLAIN)), {Feature.BACKGROUND}),
    (JobSpec(command="x", repository=REPOSITORY, checkout=Checkout(lfs=True)), {Feature.LFS}),
    (
        JobSpec(command="x", repository=REPOSITORY, checkout=Checkout(filter="tree:0")),
        {Feature.FILTER},
    ),
    (
        JobSpec(command="x", repository=REPOSITORY, checkout=Checkout(sparse=("src",))),
        {Feature.SPARSE},
    ),
    (JobSpec(command="x", checkout=Checkout(lfs=True, filter="tree:0", sparse=("src",))), set()),
    (JobSpec(command="x", repository=REPOSITORY, checkout=None), set()),
    (
        JobSpec(
            steps=(
                Step(run="x", background=True),
                Step(run="x", when=StepCondition.ON_FAILURE),
            ),
            strict=True,
            artifacts_on_cancel=True,
            merge_stderr=True,
            repository=REPOSITORY,
            commit="v1.0",
            checkout=Checkout(lfs=True, filter="blob:none", sparse=("src",)),
        ),
        set(Feature),
    ),
)


@pytest.mark.parametrize(("spec", "features"), CASES)
def test_a_job_needs_the_features_that_an_older_worker_would_ignore(
    spec: JobSpec, features: set[Feature]
) -> None:
    assert needed(spec) == features


def test_unknown_features_are_left_out() -> None:
    assert known([*Feature, "later", ""]) == ALL
    assert known(["later"]) == known([]) == NONE
    assert all(isinstance(each, Feature) for each in known([each.value for each in Feature]))
    assert Features((Feature.STRICT,)) == known(["strict", "strict"])


@pytest.mark.parametrize("fields", [{"command": "x"}, {"script": "x", "shell": "bash"}])
def test_strict_is_for_the_default_shell_alone(fields: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        JobSpec(**fields, strict=True)  # type: ignore[arg-type]  # a test's
    assert caught.value.field == "strict"
