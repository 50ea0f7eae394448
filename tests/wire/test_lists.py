"""A list of jobs has shortened scripts and steps, so that a page of large jobs fits a message."""

import pytest
from msgspec import structs

from airunner.model.job_query import Page
from airunner.model.jobs import Job, StepResult
from airunner.model.limits import (
    MESSAGE_BYTES_MAX,
    MIB,
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    STEPS_MAX,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import Step, StepStatus
from airunner.wire.codec.jobs import decode_page, encode_job, encode_page
from airunner.wire.job.v1 import job_pb2 as pb
from tests.promises import holds
from tests.wire import samples

LARGE = "echo large\n" + "# " + "x" * MIB


def listed(*specs: JobSpec) -> tuple[int, tuple[Job, ...]]:
    """The size of an encoded page of these jobs, and the decoded page."""
    jobs = tuple(samples.job(spec) for spec in specs)
    sent = encode_page(Page(jobs=jobs, last_page=1, next=None)).SerializeToString()
    return len(sent), decode_page(pb.ListJobsResponse.FromString(sent)).jobs


@holds("server/malformed-input-is-refused")
def test_a_page_of_jobs_with_large_scripts_fits_in_a_message() -> None:
    size, jobs = listed(*[JobSpec(script=LARGE)] * PAGE_SIZE_MAX)
    assert size < MIB
    assert {job.spec.script for job in jobs} == {LARGE[:200]}


def test_a_usual_page_of_jobs_with_as_many_large_steps_as_may_be_fits_in_a_message() -> None:
    step = Step(run="\u20ac" * 5_000, name="n" * 256, continue_on_error=True)
    size, jobs = listed(*[JobSpec(steps=(step,) * STEPS_MAX)] * PAGE_SIZE_DEFAULT)
    assert size < MESSAGE_BYTES_MAX
    shown = structs.replace(step, run="\u20ac" * 200)
    assert all(job.spec.steps == (shown,) * STEPS_MAX for job in jobs)


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("  short\n", "  short\n"),
        (" " * 10_000 + "late\n", "late\n"),
        ("\n" * 199 + "xy", "xy"),
        ("\x1c\u2003" * 500 + "x", "x"),
        ("\U0001f40d" * 500, "\U0001f40d" * 200),
    ],
)
def test_what_a_list_shows_of_a_script_is_a_script(script: str, shown: str) -> None:
    _, (job,) = listed(JobSpec(script=script))
    assert job.spec.script == shown


@holds("server/malformed-input-is-refused")
@pytest.mark.parametrize("spec", samples.SPECS)
def test_every_job_can_be_listed(spec: JobSpec) -> None:
    _, (job,) = listed(spec)
    assert job.spec == structs.replace(
        spec,
        environment=dict.fromkeys(spec.environment, ""),
        steps=spec.steps
        and tuple(
            structs.replace(each, environment=dict.fromkeys(each.environment, ""))
            for each in spec.steps
        ),
    )


def test_a_list_has_no_results_of_steps_and_a_job_alone_has_all() -> None:
    results = (StepResult(name="x", status=StepStatus.SUCCESS, exit_code=0),) * STEPS_MAX
    outcome = structs.replace(samples.OUTCOMES[0], steps=results)
    job = structs.replace(samples.job(), outcome=outcome)
    (short,) = encode_page(Page(jobs=(job,), last_page=1, next=None)).jobs
    assert not short.result.steps
    assert len(encode_job(job).result.steps) == STEPS_MAX
