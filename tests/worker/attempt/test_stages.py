"""Jobs with scripts and steps, with fake commands and in virtual time."""

import asyncio
from typing import BinaryIO

import pytest

from airunner.model.artifacts import Artifact
from airunner.model.jobs import AttemptEnd, JobId, JobState, Outcome, Reason, Subject
from airunner.model.limits import COLLECT_SECONDS_MAX
from airunner.model.protocol.worker_protocol import Completion
from airunner.model.reports import (
    Chunk,
    Output,
    ProcessEnded,
    ProcessFailed,
    ProcessStarted,
    Remark,
    Report,
    StepEnded,
    StepStarted,
)
from airunner.model.steps import Step, StepCondition, StepStatus
from airunner.server.client_calls import ClientCalls
from airunner.worker.workspace.workspace import ArtifactSink, Collected, Summary
from tests.promises import holds, promise
from tests.support.fake_commands import Actor
from tests.support.loop import virtually
from tests.worker.worker_fixture import WorkerFixture, worker_fixture, working

SUE = Subject("sue")
SUCCESS, FAILED, SKIPPED = StepStatus.SUCCESS, StepStatus.FAILED, StepStatus.SKIPPED
CANCELLED, TIMEOUT = StepStatus.CANCELLED, StepStatus.TIMEOUT
ON_FAILURE, ALWAYS = StepCondition.ON_FAILURE, StepCondition.ALWAYS


def now() -> float:
    return asyncio.get_running_loop().time()


async def greet(actor: Actor) -> int:
    await actor.write(b"hello\n")
    return 0


async def fail(actor: Actor) -> int:
    await actor.write(b"oh\n")
    return 3


async def sleep(actor: Actor) -> int:
    await asyncio.sleep(10_000)
    return 0


async def for_ever(sink: ArtifactSink) -> Collected:
    await asyncio.Event().wait()
    raise AssertionError


MADE = Artifact(path="made", size=1, sha256="0" * 64)


async def bring_one(sink: ArtifactSink) -> Collected:
    return Collected(artifacts=(MADE,))


async def bring_nothing(sink: ArtifactSink) -> Collected:
    return Collected(remark="nothing is there")


async def fail_to_bring(sink: ArtifactSink) -> Collected:
    return Collected(errors=("no room for big", "no room for bigger"))


class Notes:
    """Results in memory, and their artifact sink."""

    def __init__(self) -> None:
        self.logs: dict[int, bytes] = {}
        self.summaries: list[Summary] = []
        self.wrong: tuple[str, ...] = ()  # the errors that conclude() returns

    @property
    def sink(self) -> ArtifactSink:
        return self

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        raise AssertionError("nothing here has files")

    async def folder(self, path: str) -> None:
        raise AssertionError("nothing here has folders")

    async def link(self, path: str, target: str) -> bool:
        raise AssertionError("nothing here has links")

    async def write(self, index: int, data: bytes) -> None:
        self.logs[index] = self.logs.get(index, b"") + data

    async def conclude(self, summary: Summary) -> tuple[str, ...]:
        self.summaries.append(summary)
        return self.wrong


def open_all(it: WorkerFixture) -> None:
    for name, script in (("greet", greet), ("fail", fail), ("sleep", sleep)):
        it.script(name, script)


async def steps(it: WorkerFixture, *said: str | Step, **fields: object) -> JobId:
    listed = tuple(Step(run=each) if isinstance(each, str) else each for each in said)
    return await it.submit("", steps=listed, **fields)


def statuses(outcome: Outcome) -> list[StepStatus]:
    return [each.status for each in outcome.steps]


@virtually
async def test_a_script_is_run_by_bash_from_a_file() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        id = await it.submit("", script="greet")
        assert (await it.outcome(id)).exit_code == 0
        assert it.stage.actors[0].command.argv == ("bash", "/room/scripts/greet")
        kinds = [type(report) for report in await it.reports(id)]
        assert kinds == [ProcessStarted, Output, ProcessEnded]


@virtually
async def test_where_there_is_no_bash_sh_runs_it() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.stage.shells = {"sh"}
        assert (await it.outcome(await it.submit("", script="greet"))).exit_code == 0
        assert it.stage.actors[0].command.argv[0] == "sh"


@virtually
async def test_a_shell_that_was_asked_for_has_no_stand_in() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        outcome = await it.outcome(await it.submit("", script="greet", shell="zsh -e"))
        assert (outcome.reason, outcome.exit_code) == (Reason.NOT_FOUND, 127)
        assert outcome.error == "there is no shell 'zsh' on this worker"


@holds("processes/steps-run-in-order")
@virtually
async def test_steps_run_in_order_and_output_says_whose_it_is() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        id = await steps(it, "greet", Step(run="fail", name="test"), "greet")
        outcome = await it.outcome(id)
        assert (outcome.exit_code, statuses(outcome)) == (3, [SUCCESS, FAILED, SKIPPED])
        told = [_short(report) for report in await it.reports(id)]
        assert told == [
            StepStarted(0, "greet"),
            ProcessStarted,
            (0, b"hello\n"),
            ProcessEnded,
            (StepEnded, 0, SUCCESS, 0),
            StepStarted(1, "test"),
            ProcessStarted,
            (1, b"oh\n"),
            ProcessEnded,
            (StepEnded, 1, FAILED, 3),
        ]


@pytest.mark.parametrize(
    ("first", "code", "expected"),
    [
        ("greet", 0, [SUCCESS, SUCCESS, SKIPPED, SUCCESS]),
        ("fail", 3, [FAILED, SKIPPED, SUCCESS, SUCCESS]),
    ],
)
@virtually
async def test_a_step_runs_when_its_condition_says_so(
    first: str, code: int, expected: list[StepStatus]
) -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        id = await steps(
            it, first, "greet", Step(run="greet", when=ON_FAILURE), Step(run="greet", when=ALWAYS)
        )
        outcome = await it.outcome(id)
        assert (outcome.exit_code, statuses(outcome)) == (code, expected)
        started = [each.index for each in await it.reports(id) if isinstance(each, StepStarted)]
        assert started == [n for n, each in enumerate(expected) if each is not SKIPPED]


@virtually
async def test_the_first_failure_stays_the_outcome_however_the_later_steps_end() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        late = Step(run="sleep", when=ALWAYS, timeout_seconds=1)
        failing = Step(run="fail", when=ON_FAILURE)
        outcome = await it.outcome(await steps(it, "missing", late, failing, failing))
        assert (outcome.reason, outcome.exit_code) == (Reason.NOT_FOUND, 127)
        assert statuses(outcome) == [FAILED, TIMEOUT, FAILED, FAILED]
        assert outcome.error.startswith("in step 1 of 4")
        forgiven = Step(run="fail", continue_on_error=True)
        outcome = await it.outcome(
            await steps(it, forgiven, failing, Step(run="fail", when=ALWAYS))
        )
        assert (outcome.exit_code, statuses(outcome)) == (3, [FAILED, SKIPPED, FAILED])


@virtually
async def test_no_step_runs_after_a_cancel_or_the_jobs_timeout() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        always = Step(run="greet", when=ALWAYS)
        outcome = await it.outcome(await steps(it, "sleep", always, timeout_seconds=5))
        assert (outcome.reason, statuses(outcome)) == (Reason.TIMEOUT, [TIMEOUT, SKIPPED])
        id = await steps(it, "fail", Step(run="sleep", when=ALWAYS), always)
        await asyncio.sleep(1)
        await ClientCalls(it.broker).cancel(id, SUE)
        outcome = await it.outcome(id)
        assert outcome.state is JobState.CANCELLED
        assert statuses(outcome) == [FAILED, CANCELLED, SKIPPED]


@virtually
async def test_a_step_whose_variables_are_refused_has_failed() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.refused = "AIRUNNER_ENV: line 1 is not NAME=VALUE"
        id = await steps(it, "greet", "greet")
        outcome = await it.outcome(id)
        assert (outcome.reason, outcome.exit_code) == (Reason.FAILED, None)
        assert outcome.error == f"in step 1 of 2 (greet): {it.rooms.refused}"
        assert statuses(outcome) == [FAILED, SKIPPED]
        assert Remark(it.rooms.refused) in await it.reports(id)
        outcome = await it.outcome(await steps(it, "fail"))
        assert (outcome.reason, outcome.exit_code) == (Reason.EXITED, 3)


async def serve(actor: Actor) -> int:
    await actor.write(b"ready\n")
    await asyncio.sleep(10_000)
    return 0


@virtually
async def test_a_background_step_runs_beside_the_later_ones_and_ends_with_the_job() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.script("serve", serve)
        begin = now()
        id = await steps(it, Step(run="serve", background=True), "greet", "greet")
        outcome = await it.outcome(id)
        assert (outcome.exit_code, statuses(outcome)) == (0, [SUCCESS] * 3)
        assert outcome.steps[0].exit_code is None
        assert now() - begin < 10
        server = it.stage.actors[0]
        assert server.terminated.is_set()
        assert server.command.keep_tree
        assert not it.stage.alive
        ended = [each.index for each in await it.reports(id) if isinstance(each, StepEnded)]
        assert ended == [1, 2, 0]


@pytest.mark.parametrize(
    ("first", "expected", "code"),
    [
        (Step(run="fail", background=True), [FAILED, SKIPPED], 3),
        (Step(run="greet", background=True), [SUCCESS, SUCCESS], 0),
        (Step(run="missing", background=True), [FAILED, SKIPPED], 127),
        (Step(run="late", background=True), [FAILED, SUCCESS], 0),
        (Step(run="serve", background=True, timeout_seconds=5), [TIMEOUT, SUCCESS], 0),
    ],
)
@virtually
async def test_a_background_step_fails_the_job_only_at_its_start(
    first: Step, expected: list[StepStatus], code: int
) -> None:
    async def fail_late(actor: Actor) -> int:
        await asyncio.sleep(5)
        return 4

    async def work(actor: Actor) -> int:
        await asyncio.sleep(10)
        return 0

    async with worker_fixture() as it, working(it):
        open_all(it)
        for name, script in (("serve", serve), ("late", fail_late), ("work", work)):
            it.script(name, script)
        outcome = await it.outcome(await steps(it, first, "work"))
        assert (statuses(outcome), outcome.exit_code) == (expected, code)


@virtually
async def test_a_background_step_that_is_lost_ends_the_attempt_at_once() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.script("serve", serve)
        id = await steps(it, Step(run="serve", background=True), "sleep")
        await it.until(lambda: len(it.stage.alive) == 2)
        begin, (server, sleeper) = now(), it.stage.actors
        await server.lose()
        await it.until(lambda: not sleeper.alive)
        assert now() - begin < 10
        await it.until(lambda: len(it.stage.actors) > 2)  # the next attempt
        assert (await ClientCalls(it.broker).get(id)).attempts[0].ending is AttemptEnd.LOST


@virtually
async def test_the_time_of_a_background_step_ends_with_its_command() -> None:
    async def fail_late(actor: Actor) -> int:
        await asyncio.sleep(5)
        return 4

    async with worker_fixture() as it, working(it):
        open_all(it)
        it.script("late", fail_late)
        id = await steps(
            it, Step(run="late", background=True), Step(run="sleep", timeout_seconds=60)
        )
        await it.ended(id)
        (took,) = (
            each.duration
            for each in await it.reports(id)
            if isinstance(each, StepEnded) and not each.index
        )
        assert 4_000 < took < 7_000


@virtually
async def test_a_cancel_ends_background_steps_too() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.script("serve", serve)
        id = await steps(it, Step(run="serve", background=True), "sleep", "greet")
        await asyncio.sleep(10)
        assert len(it.stage.alive) == 2
        await ClientCalls(it.broker).cancel(id, SUE)
        outcome = await it.outcome(id)
        assert outcome.reason is Reason.CANCELLED
        assert statuses(outcome) == [CANCELLED, CANCELLED, SKIPPED]
        assert not it.stage.alive


@virtually
async def test_the_output_of_background_steps_has_the_jobs_limit_too() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.script("serve", serve)
        id = await steps(it, Step(run="serve", background=True), "greet", output_bytes_max=8)
        await it.ended(id)
        job = await ClientCalls(it.broker).get(id)
        assert (job.output_bytes, job.output_bytes_cut) == (8, 4)


@virtually
async def test_a_drain_gives_a_job_with_background_steps_back() -> None:
    async with worker_fixture() as it:
        open_all(it)
        it.script("serve", serve)
        worker = it.worker(drain_timeout=5.0)
        running = it.tasks.create_task(worker.run())
        id = await steps(it, Step(run="serve", background=True), "sleep")
        await asyncio.sleep(10)
        worker.drain()
        await running
        assert (await ClientCalls(it.broker).get(id)).attempts[-1].ending is AttemptEnd.RELEASED
        assert not it.stage.alive


@virtually
async def test_a_drain_after_the_last_step_leaves_no_background_step_without_an_end() -> None:
    """The drain comes within the grace period of the background step."""

    async def hold_on(actor: Actor) -> int:
        actor.traps = True
        return await serve(actor)

    async with worker_fixture() as it:
        open_all(it)
        it.script("hold on", hold_on)
        worker = it.worker(drain_timeout=0.0)
        running = it.tasks.create_task(worker.run())
        id = await steps(it, Step(run="hold on", background=True), "greet")
        await it.until(lambda: it.stage.actors and it.stage.actors[0].terminated.is_set())
        await asyncio.sleep(1)
        worker.drain()
        await running
        outcome = await it.outcome(id)
        assert (outcome.exit_code, statuses(outcome)) == (0, [SUCCESS, SUCCESS])
        assert outcome.steps[0].ended_at is not None
        assert outcome.ended_at == outcome.steps[0].ended_at
        ended = [each.index for each in await it.reports(id) if isinstance(each, StepEnded)]
        assert ended == [1, 0]


def _short(report: Report) -> object:
    match report:
        case Output((Chunk(data=data),), step):
            return step, data
        case StepEnded(index, _, status, code):
            return StepEnded, index, status, code
        case StepStarted():
            return report
        case _:
            return type(report)


@virtually
async def test_a_step_has_its_own_variables_over_the_jobs() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        first = Step(run="greet", environment={"A": "step", "B": "step"})
        await it.ended(await steps(it, first, "greet", environment={"A": "job"}))
        one, two = (actor.command.environment for actor in it.stage.actors)
        assert (one["A"], one["B"], one["AIRUNNER_STEP"]) == ("step", "step", "0")
        assert (two["A"], two["AIRUNNER_STEP"]) == ("job", "1")
        assert "B" not in two


@holds("processes/steps-run-in-order")
@virtually
async def test_no_process_of_a_step_is_left_when_the_next_begins() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        alone: list[bool] = []

        async def look(actor: Actor) -> int:
            alone.append(it.stage.alive == [actor])
            return 0

        it.script("look", look)
        await it.ended(await steps(it, "look", "look", "look"))
        assert alone == [True, True, True]


@holds("processes/steps-run-in-order")
@virtually
async def test_a_steps_timeout_ends_its_tree_and_the_job() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        id = await steps(it, Step(run="sleep", timeout_seconds=30), "greet")
        outcome = await it.outcome(id)
        assert outcome.reason is Reason.TIMEOUT
        assert statuses(outcome) == [TIMEOUT, SKIPPED]
        assert now() == pytest.approx(30, abs=1)
        assert not it.stage.alive


@virtually
async def test_a_step_that_goes_on_after_its_timeout_is_followed_by_the_next() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        slow = Step(run="sleep", timeout_seconds=30, continue_on_error=True)
        outcome = await it.outcome(await steps(it, slow, "greet"))
        assert outcome.state is JobState.COMPLETED
        assert statuses(outcome) == [TIMEOUT, SUCCESS]


@virtually
async def test_the_jobs_timeout_is_one_for_all_its_steps() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)

        async def nap(actor: Actor) -> int:
            await asyncio.sleep(20)
            return 0

        it.script("nap", nap)
        outcome = await it.outcome(await steps(it, "nap", "nap", "nap", timeout_seconds=50))
        assert outcome.reason is Reason.TIMEOUT
        assert statuses(outcome) == [SUCCESS, SUCCESS, TIMEOUT]
        assert now() == pytest.approx(50, abs=1)


@virtually
async def test_a_cancel_ends_the_step_and_those_behind_it_are_skipped() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        id = await steps(it, "greet", "sleep", "greet")
        await it.until(lambda: len(it.stage.actors) == 2 and it.stage.alive)
        await ClientCalls(it.broker).cancel(id, SUE)
        job = await it.ended(id)
        assert job.state is JobState.CANCELLED
        assert job.outcome
        assert statuses(job.outcome) == [SUCCESS, CANCELLED, SKIPPED]


@virtually
async def test_a_drain_between_steps_gives_the_whole_attempt_back() -> None:
    async with worker_fixture() as it:
        open_all(it)
        async with working(it, drain_timeout=5.0):
            id = await steps(it, "greet", "sleep")
            await it.until(lambda: len(it.stage.actors) == 2 and it.stage.alive)
        job = await ClientCalls(it.broker).get(id)
        assert job.state is JobState.SCHEDULED
        assert job.attempts[-1].ending is AttemptEnd.RELEASED


@virtually
async def test_a_step_that_cannot_be_started_fails_the_job_there() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        id = await steps(it, "greet", Step(run="greet", working_directory="nowhere"), "greet")
        outcome = await it.outcome(id)
        assert outcome.reason is Reason.SETUP_FAILED
        assert statuses(outcome) == [SUCCESS, FAILED, SKIPPED]
        assert any(isinstance(report, ProcessFailed) for report in await it.reports(id))


@virtually
async def test_the_output_limit_is_one_for_all_steps() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        job = await it.ended(await steps(it, "greet", "greet", output_bytes_max=8))
        assert (job.output_bytes, job.output_bytes_cut) == (8, 4)


@virtually
async def test_steps_that_the_source_brings_are_run() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.brought = (Step(run="greet"), Step(run="fail"))
        outcome = await it.outcome(await it.submit("", source="a"))
        assert statuses(outcome) == [SUCCESS, FAILED]
        it.rooms.brought = None
        outcome = await it.outcome(await it.submit("", source="a"))
        assert (outcome.reason, outcome.steps) == (Reason.SETUP_FAILED, ())
        assert "job.json" in outcome.error


# Artifacts and results


@virtually
async def test_results_have_each_steps_log_and_a_summary() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = notes = Notes()
        it.rooms.collecting = bring_one
        job = await it.ended(await steps(it, "greet", Step(run="fail", name="test"), "greet"))
        assert notes.logs == {0: b"hello\n", 1: b"oh\n"}
        (summary,) = notes.summaries
        assert [each.status for each in summary.steps] == [SUCCESS, FAILED, SKIPPED]
        assert [each.command for each in summary.steps] == ["greet", "fail", "greet"]
        assert summary.collected == Collected(artifacts=(MADE,))
        assert summary.outcome == job.outcome


@virtually
async def test_a_command_alone_has_results_as_one_step_has() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = notes = Notes()
        await it.ended(await it.submit("greet", args=("you",)))
        assert notes.logs == {0: b"hello\n"}
        assert [each.command for each in notes.summaries[0].steps] == ["greet you"]


@virtually
async def test_a_steps_log_says_where_it_was_cut() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = notes = Notes()
        await it.ended(await steps(it, "greet", "greet", output_bytes_max=8))
        assert notes.logs[0] == b"hello\n"
        assert notes.logs[1].startswith(b"he\n[4 bytes were cut here")


@promise(
    "processes/source-is-free-first",
    "A source is free before the last message of its attempt is sent. A reader of the end may use "
    "the source at once.",
)
@virtually
async def test_the_source_is_free_before_the_last_word_is_said() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        free: list[bool] = []

        def look(said: object) -> bool:
            if isinstance(said, Completion):
                free.append(bool(it.rooms.left))
            return False

        it.breaks = look
        await it.ended(await it.submit("greet"))
        assert free == [True]


@promise(
    "processes/kept-or-failed",
    "A job whose artifacts or results cannot be stored says so in its end. If its commands "
    "succeeded, the job is FAILED as `artifacts_failed`.",
)
@virtually
async def test_what_a_job_made_and_cannot_be_kept_is_its_failure() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = Notes()
        it.rooms.collecting = fail_to_bring
        id = await it.submit("greet")
        outcome = await it.outcome(id)
        assert (outcome.reason, outcome.exit_code) == (Reason.ARTIFACTS_FAILED, 0)
        assert outcome.state is JobState.FAILED
        assert outcome.error == "no room for big (and 1 more)"
        remarks = [each.message for each in await it.reports(id) if isinstance(each, Remark)]
        assert remarks == ["no room for big", "no room for bigger"]


@virtually
async def test_a_failure_of_its_own_stays_the_jobs_reason() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = Notes()
        it.rooms.collecting = fail_to_bring
        outcome = await it.outcome(await steps(it, "fail"))
        assert (outcome.reason, outcome.exit_code) == (Reason.EXITED, 3)
        assert outcome.error == "in step 1 of 1 (fail); no room for big (and 1 more)"


@holds("processes/kept-or-failed")
@virtually
async def test_results_that_cannot_be_written_are_the_jobs_failure() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = notes = Notes()
        notes.wrong = ("cannot write result.json: No space left on device",)
        outcome = await it.outcome(await it.submit("greet"))
        assert outcome.reason is Reason.ARTIFACTS_FAILED
        assert "No space left" in outcome.error


@holds("processes/kept-or-failed")
@virtually
async def test_artifacts_without_a_place_to_go_to_are_an_error() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        outcome = await it.outcome(await it.submit("greet", artifacts=("dist/",)))
        assert outcome.reason is Reason.ARTIFACTS_FAILED
        assert (await it.outcome(await it.submit("greet"))).state is JobState.COMPLETED


@virtually
async def test_patterns_that_mean_no_file_are_remarked_upon() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = Notes()
        it.rooms.collecting = bring_nothing
        id = await it.submit("greet")  # the patterns may be those of its source
        assert (await it.ended(id)).state is JobState.COMPLETED
        assert Remark("nothing is there") in await it.reports(id)


@virtually
async def test_a_cancel_ends_the_collecting_and_is_the_end() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = notes = Notes()
        it.rooms.collecting = for_ever
        id = await it.submit("greet", artifacts=("dist/",))
        await it.until(lambda: it.stage.actors and not it.stage.alive)
        await ClientCalls(it.broker).cancel(id, SUE)
        outcome = await it.outcome(id)
        assert (outcome.reason, outcome.exit_code) == (Reason.CANCELLED, 0)
        assert notes.summaries[0].outcome.reason is Reason.CANCELLED
        assert not any(isinstance(report, Remark) for report in await it.reports(id))


@virtually
async def test_a_cancelled_job_that_asks_for_its_artifacts_is_collected() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = notes = Notes()
        wanted = {"artifacts_on_cancel": True, "artifacts": ("made",)}
        for early in (True, False):  # before the collecting, and during it
            release = asyncio.Event()

            async def wait(sink: ArtifactSink, release: asyncio.Event = release) -> Collected:
                await release.wait()
                return await bring_one(sink)

            it.rooms.collecting = wait
            id = await it.submit("sleep" if early else "greet", **wanted)
            await asyncio.sleep(1)
            await ClientCalls(it.broker).cancel(id, SUE)
            await asyncio.sleep(1)
            release.set()
            assert (await it.outcome(id)).reason is Reason.CANCELLED
            assert notes.summaries[-1].collected.artifacts == (MADE,)
            assert notes.summaries[-1].outcome.reason is Reason.CANCELLED


@virtually
async def test_a_drain_lets_artifacts_be_collected_and_a_kill_does_not() -> None:
    async with worker_fixture() as it:
        open_all(it)
        it.rooms.results = Notes()
        it.rooms.collecting = for_ever
        worker = it.worker(drain_timeout=5.0)
        running = it.tasks.create_task(worker.run())
        id = await it.submit("greet")
        await it.until(lambda: it.stage.actors and not it.stage.alive)
        worker.drain()
        await asyncio.sleep(60)
        assert not running.done()
        worker.kill()
        await running
        assert (await ClientCalls(it.broker).get(id)).attempts[-1].ending is AttemptEnd.RELEASED


@virtually
async def test_collecting_has_an_end() -> None:
    async with worker_fixture() as it, working(it):
        open_all(it)
        it.rooms.results = Notes()
        it.rooms.collecting = for_ever
        outcome = await it.outcome(await it.submit("greet", timeout_seconds=5))
        assert outcome.reason is Reason.ARTIFACTS_FAILED
        assert "COLLECT_SECONDS_MAX" in outcome.error
        assert now() == pytest.approx(COLLECT_SECONDS_MAX, abs=2)
