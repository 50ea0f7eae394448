"""A list of jobs has shortened scripts and steps, so that a page of large jobs fits a message."""

import asyncio

import pytest
from msgspec import structs

from airunner.model.job_query import Page
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    Job,
    Outcome,
    PastAttempt,
    Reason,
    RequestId,
    StepResult,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.model.limits import (
    COMMAND_BYTES_MAX,
    ENVIRONMENT_MAX,
    LISTED_JOB_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    METADATA_MAX,
    MIB,
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    REQUEST_ID_BYTES_MAX,
    SPARSE_MAX,
    STEPS_MAX,
    SUBJECT_BYTES_MAX,
)
from airunner.model.spec import Checkout, Container, JobSpec, Mount
from airunner.model.steps import Step, StepStatus
from airunner.server.grpc.listed_jobs import encode_page
from airunner.wire.codec.jobs import decode_job, decode_page, encode_job
from airunner.wire.job.v1 import job_pb2 as pb
from tests.promises import holds
from tests.wire import samples

LARGE = "echo large\n" + "# " + "x" * MIB


def listed(*specs: JobSpec) -> tuple[int, tuple[Job, ...]]:
    """The size of an encoded page of these jobs, and the decoded page."""
    jobs = tuple(samples.job(spec) for spec in specs)
    sent = asyncio.run(encode_page(Page(jobs=jobs, last_page=1, next=None))).SerializeToString()
    return len(sent), decode_page(pb.ListJobsResponse.FromString(sent)).jobs


@holds("server/malformed-input-is-refused")
def test_a_page_of_jobs_with_large_scripts_fits_in_a_message() -> None:
    size, jobs = listed(*[JobSpec(script=LARGE)] * PAGE_SIZE_MAX)
    assert size < MIB
    assert {job.spec.script for job in jobs} == {LARGE[:200]}


def test_a_list_shows_the_first_of_many_large_steps() -> None:
    step = Step(run="\u20ac" * 5_000, name="n" * 256, continue_on_error=True)
    size, jobs = listed(*[JobSpec(steps=(step,) * STEPS_MAX)] * PAGE_SIZE_DEFAULT)
    assert size < PAGE_SIZE_DEFAULT * LISTED_JOB_BYTES_MAX
    shown = structs.replace(step, run="\u20ac" * 200)
    assert all(job.spec.steps == (shown, shown) for job in jobs)


LARGEST = JobSpec(
    command="c" * COMMAND_BYTES_MAX,
    args=("\u20ac" * 40,) * 1_024,
    repository="https://localhost/" + "r/" * 1_000,
    branch="b" * 256,
    commit="c" * 256,
    checkout=Checkout(sparse=tuple(f"{number}/" + "s" * 120 for number in range(SPARSE_MAX))),
    working_directory="a/..b/" * 170,
    environment={f"NAME_{number}": "" for number in range(ENVIRONMENT_MAX)},
    metadata={"k" * 300 + str(number): "v" for number in range(METADATA_MAX - 20)}
    | {"key": "value"},
    artifacts=tuple(f"{number}/" + "p" * 1_000 for number in range(64)),
    container=Container(
        image="i" * 1_024,
        runtime="r" * 1_024,
        mounts=(Mount(source="/s" * 500, target="/t" * 500),) * 64,
    ),
    owner="o" * 256,
    name="n" * 256,
)
STEPS = tuple(
    Step(
        run="\U0001f40d" * 1_000,
        name="n" * 256,
        working_directory="d/.." + "d" * 1_000,
        environment={"E" * 500: "x"},
    )
    for number in range(20)
)
MANY_STEPS = (Step(run="x", environment={f"N{n:03}": "v" for n in range(150)}),) * STEPS_MAX


@holds("server/malformed-input-is-refused")
@pytest.mark.parametrize(
    ("spec", "shortened"),
    [
        (
            LARGEST,
            (
                "args artifacts command container environment git_clone metadata repository "
                "working_directory"
            ),
        ),
        (JobSpec(steps=STEPS, shell="bash " + "-x " * 80, source="s/" * 500 + "s"), "source steps"),
        (JobSpec(steps=MANY_STEPS), "steps"),
        (JobSpec(script="x" * 300), ""),
    ],
    ids=["command", "steps", "many variables", "script"],
)
def test_the_largest_jobs_are_listed_with_cut_fields_that_are_named(
    spec: JobSpec, shortened: str
) -> None:
    job = structs.replace(
        samples.job(spec),
        submitter=Subject("s" * SUBJECT_BYTES_MAX),
        request=RequestId("r" * REQUEST_ID_BYTES_MAX),
        outcome=Outcome(reason=Reason.FAILED, error="e" * 15_000_000),  # as older logs have it
        attempts=(
            PastAttempt(
                number=1,
                token=TokenDigest(b""),
                worker=WorkerId("w" * 256),
                leased_at=Instant(2**41),
                ended_at=Instant(2**41),
                ending=AttemptEnd.RELEASED,
            ),
        )
        * 32,
    )
    (message,) = asyncio.run(encode_page(Page(jobs=(job,), last_page=1, next=None))).jobs
    assert message.ByteSize() <= LISTED_JOB_BYTES_MAX
    assert sorted(message.shortened) == shortened.split()
    assert PAGE_SIZE_MAX * LISTED_JOB_BYTES_MAX < MESSAGE_BYTES_MAX
    decode_job(message)


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
    (short,) = asyncio.run(encode_page(Page(jobs=(job,), last_page=1, next=None))).jobs
    assert not short.result.steps
    assert len(encode_job(job).result.steps) == STEPS_MAX
