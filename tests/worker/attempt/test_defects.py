"""A defect of airunner's own ends its attempt, in virtual time, and nothing beside it."""

import asyncio

import pytest

from airunner.model.jobs import JobState, Reason
from airunner.model.limits import REPORT_STDERR_BYTES_MAX, REPORT_TEXT_BYTES_MAX
from airunner.worker.process import ProcessLost
from airunner.worker.workspace.workspace import ArtifactSink, Summary
from tests.promises import promise
from tests.support.fake_commands import Actor
from tests.support.loop import virtually
from tests.worker.worker_fixture import WorkerFixture, worker_fixture, working


async def hold(actor: Actor) -> int:
    await asyncio.sleep(100)
    return 0


async def greet(actor: Actor) -> int:
    return 0


class Defect:
    """A checkout, and the results of a job, that raise an error that nothing expects."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def fetching(self) -> None:
        raise self._error

    @property
    def sink(self) -> ArtifactSink:
        raise self._error

    async def write(self, index: int, data: bytes) -> None:
        pass

    async def conclude(self, summary: Summary) -> tuple[str, ...]:
        return ()


ERRORS = [
    ZeroDivisionError("oh"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ValueError("x" * 5_000_000),
    ExceptionGroup("several", [OSError(36, "File name too long"), RecursionError("\ud800")]),
]


@promise(
    "processes/an-attempt-s-defect-is-its-own",
    "Whatever an attempt raises ends that attempt, as `setup_failed` and with a traceback in the "
    "worker's log. The worker and its other jobs go on.",
)
@pytest.mark.parametrize("place", ["checkout", "results"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
@virtually
async def test_a_defect_ends_its_attempt_and_the_others_run_on(
    place: str, error: Exception
) -> None:
    async with worker_fixture() as it, working(it, slots=2) as worker:
        it.script("hold", hold)
        it.script("greet", greet)
        await _play(it, place, error)
        await it.until(lambda: worker.statistics().jobs_over == 2)
        assert worker.statistics().attempts_crashed == 1


async def _play(it: WorkerFixture, place: str, error: Exception) -> None:
    beside = await it.submit("hold")
    await it.until(lambda: it.stage.alive)
    if place == "checkout":
        it.rooms.fetching = Defect(error).fetching
    else:
        it.rooms.results = Defect(error)
    outcome = await it.outcome(await it.submit("greet"))
    assert outcome.reason is Reason.SETUP_FAILED
    assert outcome.error.startswith("the attempt failed by a defect of airunner's own")
    assert len(outcome.error) <= REPORT_TEXT_BYTES_MAX
    (line,) = it.logged("attempt_crashed")
    assert "Traceback" in line["exception"]
    assert len(line["exception"]) <= REPORT_STDERR_BYTES_MAX
    assert (await it.ended(beside)).state is JobState.COMPLETED


@virtually
async def test_a_checkout_whose_command_is_killed_loses_the_attempt_and_is_no_defect() -> None:
    async with worker_fixture() as it, working(it) as worker:
        it.script("greet", greet)
        it.rooms.fetching = Defect(ProcessLost("the shim was killed")).fetching
        outcome = await it.outcome(await it.submit("greet"))
        assert outcome.reason is Reason.LOST
        assert it.logged("process_lost")
        assert worker.statistics().attempts_crashed == 0
