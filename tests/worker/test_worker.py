"""A worker at a real broker, in virtual time: jobs, cancels, drains and failures."""

import asyncio

import pytest

from airunner.model.errors import InvalidRequest, NotAllowed, Refused, Unauthenticated
from airunner.model.jobs import JobState, Reason
from airunner.model.limits import BATCH_BYTES_MAX, SETUP_TIMEOUT_SECONDS, UNACKNOWLEDGED_BYTES_MAX
from airunner.model.protocol.worker_protocol import (
    Assignment,
    Batch,
    Completion,
    Credit,
    Farewell,
    GiveBack,
    Heartbeat,
    Hello,
    Renewal,
    Settled,
    Stored,
)
from airunner.model.reports import (
    CloneStarted,
    Output,
    OutputCut,
    ProcessEnded,
    ProcessFailed,
    ProcessStarted,
    Remark,
    Stream,
    count_sequences,
)
from airunner.model.spec import Container, ProcessType
from airunner.server.client_calls import ClientCalls
from airunner.server.worker_calls import WorkerCalls
from airunner.worker.process import SupervisorLost
from airunner.worker.spool.spool import REPORT_BYTES
from airunner.worker.spool.spools import SpoolStatistics
from airunner.worker.worker import Worker
from tests.promises import holds, promise
from tests.support.fake_commands import PIPE_BYTES, Actor
from tests.support.loop import until_idle, virtually
from tests.worker.worker_fixture import SUE, span, worker_fixture, working


def now() -> float:
    return asyncio.get_running_loop().time()


async def for_ever() -> None:
    await asyncio.sleep(1_000_000)


async def nothing(actor: Actor) -> int:
    return 0


async def greet(actor: Actor) -> int:
    await actor.write(b"hello\n")
    return 0


async def sleep(actor: Actor) -> int:
    await asyncio.sleep(1_000_000)
    return 0


async def stubborn(actor: Actor) -> int:
    actor.traps = True
    return await sleep(actor)


async def shout(actor: Actor) -> int:
    """Writes for ever, as fast as the worker reads."""
    while True:
        await actor.write(b"x" * 16_384)


async def count_to_fifty(actor: Actor) -> int:
    for number in range(50):
        await actor.write(b"%d\n" % number)
        await asyncio.sleep(1)
    return 3


FIFTY = b"".join(b"%d\n" % number for number in range(50))


# A job


@virtually
async def test_a_job_runs_and_its_output_and_exit_are_told() -> None:
    async with worker_fixture() as it, working(it):
        it.script("greet", greet)
        id = await it.submit("greet")
        job = await it.ended(id)
        assert job.state is JobState.COMPLETED
        assert job.outcome
        assert job.outcome.exit_code == 0
        assert job.outcome.log_complete
        kinds = [type(report) for report in await it.reports(id)]
        assert kinds == [ProcessStarted, Output, ProcessEnded]
        assert await it.output(id) == b"hello\n"


@promise(
    "processes/clean-environment",
    "A command gets a clean environment that holds nothing of the worker's.",
)
@virtually
async def test_a_command_gets_a_clean_environment_in_a_home_of_its_own() -> None:
    async with worker_fixture() as it, working(it):
        it.script("greet", greet)
        id = await it.submit("greet", args=("you",), environment={"LANG": "C", "MORE": "1"})
        await it.ended(id)
        command = it.stage.actors[0].command
        assert command.argv == ("greet", "you")
        assert command.directory == "/room/checkout"
        assert command.environment == {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/room/home",
            "LANG": "C",
            "TERM": "dumb",
            "TMPDIR": "/room/tmp",
            "CI": "true",
            "USER": "nobody",
            "LOGNAME": "nobody",
            "SHELL": "/bin/sh",
            "PAGER": "cat",
            "GIT_PAGER": "cat",
            "MORE": "1",
            "AIRUNNER_JOB_ID": id,
            "AIRUNNER_ATTEMPT": "1",
            "AIRUNNER_QUEUE": "default",
        }


@virtually
async def test_a_terminal_is_named_to_its_command() -> None:
    async with worker_fixture() as it, working(it):
        it.script("greet", greet)
        await it.ended(await it.submit("greet", process_type=ProcessType.PTY))
        assert it.stage.actors[0].command.environment["TERM"] == "xterm-256color"


@virtually
async def test_commands_that_cannot_run_say_so_by_reason_and_exit_code() -> None:
    async with worker_fixture() as it, working(it):
        it.stage.locked.add("locked")
        missing = await it.outcome(await it.submit("missing"))
        locked = await it.outcome(await it.submit("locked"))
        assert (missing.reason, missing.exit_code) == (Reason.NOT_FOUND, 127)
        assert (locked.reason, locked.exit_code) == (Reason.NOT_EXECUTABLE, 126)
        assert "missing" in missing.error


@promise(
    "processes/container-never-on-the-host",
    "A job that asks for a container never runs on the host.",
)
@virtually
async def test_a_job_that_asks_for_a_container_never_runs_on_the_host() -> None:
    async with worker_fixture() as it, working(it):
        it.script("greet", greet)
        id = await it.submit("greet", container=Container(image="alpine"))
        outcome = await it.outcome(id)
        assert outcome.reason is Reason.SETUP_FAILED
        assert "container" in outcome.error
        assert not it.stage.actors


@virtually
async def test_what_is_wrong_with_a_workspace_fails_the_set_up() -> None:
    async with worker_fixture() as it, working(it):
        it.script("greet", greet)
        id = await it.submit("greet", working_directory="nowhere")
        outcome = await it.outcome(id)
        assert outcome.reason is Reason.SETUP_FAILED
        assert "nowhere" in outcome.error
        assert [type(report) for report in await it.reports(id)] == [ProcessFailed]


@promise(
    "jobs/full-disk-gives-jobs-back",
    "A worker whose disk is full or fails gives its jobs back without blame, says so in its log and "
    "in the log of the job, and takes jobs again as soon as there is room.",
)
@virtually
async def test_a_worker_whose_disk_is_full_gives_jobs_back_and_takes_them_when_there_is_room() -> (
    None
):
    async with worker_fixture() as it, working(it, slots=2) as worker:
        it.script("greet", greet)
        it.rooms.full = True
        ids = [await it.submit("greet") for _ in range(4)]
        await it.until(lambda: it.logged("disk_full"))
        await asyncio.sleep(600)
        assert len(it.logged("job_leased")) == 2  # the two that it had asked for before
        it.rooms.full = False
        for id in ids:
            job = await it.ended(id)
            assert (job.state, job.failures) == (JobState.COMPLETED, 0)
        await it.until(lambda: worker.statistics().jobs_over == 6)
        reports = [each for id in ids for each in await it.reports(id)]
        remarks = [each for each in reports if isinstance(each, Remark)]
        assert len(remarks) == 2
        assert "No space left" in remarks[0].message
        assert [len(it.logged(event)) for event in ("disk_full", "disk_has_room")] == [1, 1]


@holds("jobs/full-disk-gives-jobs-back")
@pytest.mark.parametrize("jobs_max", [None, 1])
@virtually
async def test_a_worker_that_starts_on_a_full_disk_leases_no_job_until_there_is_room(
    jobs_max: int | None,
) -> None:
    async with worker_fixture() as it:
        it.script("greet", greet)
        it.rooms.full = True
        id = await it.submit("greet")
        worker = it.worker(slots=2, jobs_max=jobs_max)
        running = it.tasks.create_task(worker.run())
        await it.until(lambda: worker.statistics().session.connected)
        await asyncio.sleep(600)
        job = await ClientCalls(it.broker).get(id)
        assert (job.state, job.attempt) == (JobState.SCHEDULED, 0)
        it.rooms.full = False
        assert ((await it.ended(id)).state, it.logged("job_given_back")) == (JobState.COMPLETED, [])
        worker.drain()
        await running
        assert [len(it.logged(event)) for event in ("disk_full", "disk_has_room")] == [1, 1]


@holds("jobs/full-disk-gives-jobs-back", "processes/jobs-max-is-exact")
@virtually
async def test_a_worker_of_a_single_job_does_not_count_a_job_for_which_it_had_no_room() -> None:
    async with worker_fixture() as it:
        it.script("count", count_to_fifty)
        worker = it.worker(jobs_max=1)
        running = it.tasks.create_task(worker.run())
        await it.until(lambda: worker.statistics().session.connected)
        it.rooms.full = True
        id = await it.submit("count")
        await it.until(lambda: it.logged("job_given_back"))
        await asyncio.sleep(600)
        assert not running.done()
        assert (await ClientCalls(it.broker).get(id)).state is JobState.SCHEDULED
        it.rooms.full = False
        outcome = await running
        assert outcome
        assert (outcome.reason, outcome.exit_code) == (Reason.EXITED, 3)
        assert (await ClientCalls(it.broker).get(id)).attempt == 2


@virtually
async def test_a_worker_without_room_for_another_job_finishes_its_own_and_drains() -> None:
    async with worker_fixture() as it, working(it, slots=1):
        it.script("sleep", sleep)
        first = await it.submit("sleep")
        await it.until(lambda: it.stage.alive)
        it.rooms.full = True
        assert (await it.outcome(first)).reason is Reason.EXITED
        await it.until(lambda: it.logged("disk_full"))
        second = await it.submit("sleep")
        await asyncio.sleep(60)
        assert (await ClientCalls(it.broker).get(second)).state is JobState.SCHEDULED
        assert len(it.logged("job_leased")) == 1


@virtually
async def test_death_by_a_signal_is_told_as_the_signal() -> None:
    async with worker_fixture() as it, working(it):
        it.script("sleep", sleep)
        id = await it.submit("sleep")
        await it.until(lambda: it.stage.alive)
        await it.stage.alive[0].terminate(0)
        outcome = await it.outcome(id)
        assert (outcome.reason, outcome.exit_code, outcome.signal) == (Reason.SIGNALED, 137, 9)


@virtually
async def test_slots_bound_the_jobs_that_run_at_once() -> None:
    async with worker_fixture() as it, working(it, slots=2):
        it.script("count", count_to_fifty)
        ids = [await it.submit("count") for _ in range(5)]
        most = 0
        while not (await ClientCalls(it.broker).get(ids[-1])).state.final:
            most = max(most, len(it.stage.alive))
            await asyncio.sleep(0.5)
        assert most == 2
        assert now() == pytest.approx(150, abs=5)


# Time and cancelling


@virtually
async def test_a_timeout_ends_the_command_as_a_cancel_would() -> None:
    async with worker_fixture() as it, working(it):
        it.script("stubborn", stubborn)
        outcome = await it.outcome(await it.submit("stubborn", timeout_seconds=60, grace_seconds=5))
        assert outcome.reason is Reason.TIMEOUT
        assert outcome.exit_code == 137
        assert now() == pytest.approx(65, abs=1)


@virtually
async def test_a_set_up_that_takes_too_long_fails() -> None:
    async with worker_fixture() as it, working(it):
        it.rooms.fetching = for_ever
        outcome = await it.outcome(await it.submit("greet"))
        assert outcome.reason is Reason.SETUP_FAILED
        assert now() == pytest.approx(SETUP_TIMEOUT_SECONDS, abs=1)


@virtually
async def test_the_limit_of_the_set_up_is_the_workers() -> None:
    async with worker_fixture() as it:
        it.setup_seconds = 30
        async with working(it):
            it.rooms.fetching = for_ever
            outcome = await it.outcome(await it.submit("greet"))
            assert outcome.reason is Reason.SETUP_FAILED
            assert "set-up took longer than 30 s" in outcome.error
            assert now() == pytest.approx(30, abs=1)


@holds("jobs/cancelled-is-the-only-end")
@virtually
async def test_a_cancel_is_confirmed_when_no_process_is_left() -> None:
    async with worker_fixture() as it, working(it):
        it.script("stubborn", stubborn)
        id = await it.submit("stubborn", grace_seconds=7)
        await it.until(lambda: it.stage.alive)
        asked = now()
        await ClientCalls(it.broker).cancel(id, SUE)
        await ClientCalls(it.broker).cancel(id, SUE)
        assert (await it.ended(id)).state is JobState.CANCELLED
        assert not it.stage.alive
        assert now() - asked == pytest.approx(7, abs=0.5)
        assert it.stage.actors[0].terminated.is_set()


@virtually
async def test_a_cancel_during_set_up_ends_the_set_up() -> None:
    async with worker_fixture() as it, working(it):
        it.rooms.fetching = for_ever
        id = await it.submit("greet")
        await it.until(lambda: it.rooms.open)
        await ClientCalls(it.broker).cancel(id, SUE)
        assert (await it.ended(id)).state is JobState.CANCELLED
        assert not it.stage.actors
        assert [type(report) for report in await it.reports(id)] == [CloneStarted]


@virtually
async def test_a_command_that_never_starts_ends_by_a_cancel_or_by_its_timeout() -> None:
    async with worker_fixture() as it, working(it, slots=2):
        it.stage.waiting.add("greet")
        cancelled = await it.submit("greet")
        slow = await it.submit("greet", timeout_seconds=60)
        await it.until(lambda: len(it.rooms.open) == 2)
        await ClientCalls(it.broker).cancel(cancelled, SUE)
        assert (await it.ended(cancelled)).state is JobState.CANCELLED
        assert (await it.outcome(slow)).reason is Reason.TIMEOUT
        assert now() == pytest.approx(60, abs=1)


@virtually
async def test_an_exit_code_that_races_a_cancel_is_kept() -> None:
    async with worker_fixture() as it, working(it):

        async def tidy(actor: Actor) -> int:
            actor.traps = True
            await actor.terminated.wait()
            return 42

        it.script("tidy", tidy)
        id = await it.submit("tidy")
        await it.until(lambda: it.stage.alive)
        await ClientCalls(it.broker).cancel(id, SUE)
        outcome = await it.outcome(id)
        assert (outcome.reason, outcome.exit_code) == (Reason.CANCELLED, 42)


@virtually
async def test_a_cancel_while_out_of_touch_is_heard_with_the_welcome() -> None:
    async with worker_fixture() as it, working(it):
        it.script("sleep", sleep)
        id = await it.submit("sleep")
        await it.until(lambda: it.stage.alive)
        it.away = True
        it.cut()
        await ClientCalls(it.broker).cancel(id, SUE)
        await asyncio.sleep(5)
        assert it.stage.alive
        it.away = False
        assert (await it.ended(id)).state is JobState.CANCELLED
        assert now() < 30


# A network that breaks


@holds("logs/stored-once-in-order")
@virtually
async def test_nothing_is_lost_or_doubled_by_a_network_that_breaks_often() -> None:
    async with worker_fixture() as it, working(it):
        it.script("count", count_to_fifty)
        id = await it.submit("count")
        for _ in range(12):
            await asyncio.sleep(3.7)
            it.cut()
        job = await it.ended(id)
        assert job.attempt == 1
        assert job.outcome
        assert job.outcome.exit_code == 3
        assert job.outcome.log_complete
        assert await it.output(id) == FIFTY


@holds("logs/stored-once-in-order")
@pytest.mark.parametrize(
    "kind", [Assignment, Stored, Settled, Batch, Completion, Credit, Hello, Renewal, Heartbeat]
)
@virtually
async def test_any_message_can_be_the_last_of_its_stream(kind: type) -> None:
    async with worker_fixture() as it, working(it):
        it.script("count", count_to_fifty)
        first = await it.submit("count")
        it.breaks = lambda message: isinstance(message, kind)
        assert (await it.ended(first)).failures == 0
        second = await it.submit("count")
        for id in (first, second):
            assert (await it.outcome(id)).exit_code == 3
            assert await it.output(id) == FIFTY


@virtually
async def test_a_completion_whose_answer_was_lost_is_said_again_and_settled() -> None:
    async with worker_fixture() as it, working(it):
        it.script("greet", greet)
        it.breaks = lambda message: isinstance(message, Settled)
        id = await it.submit("greet")
        await it.until(lambda: it.logged("job_ended"))
        assert sum(isinstance(message, Completion) for message in it.said) == 2
        assert (await it.outcome(id)).exit_code == 0
        assert not it.logged("lease_lost")


@holds("jobs/broken-connection-redelivers-nothing")
@virtually
async def test_a_server_that_is_away_for_less_than_the_span_costs_nothing() -> None:
    async with worker_fixture() as it, working(it, span=span(60)):
        it.script("count", count_to_fifty)
        id = await it.submit("count")
        await asyncio.sleep(5)
        it.away = True
        it.cut()
        await asyncio.sleep(30)
        assert it.stage.alive
        it.away = False
        job = await it.ended(id)
        assert (job.attempt, await it.output(id)) == (1, FIFTY)
        assert it.connects > 5


@holds("jobs/worker-stops-first")
@virtually
async def test_a_lapsed_lease_kills_the_tree_and_writes_nothing_after() -> None:
    async with worker_fixture() as it, working(it, span=span(60)):
        it.script("count", count_to_fifty)
        it.script("sleep", sleep)
        id = await it.submit("sleep")
        await it.until(lambda: it.stage.alive)
        renewed = now()
        it.away = True
        it.cut()
        await it.until(lambda: not it.stage.alive)
        assert renewed + 55 < now() <= renewed + 60.1
        assert it.logged("lease_lost")
        said = len(it.said)
        it.away = False
        it.script("sleep", nothing)
        job = await it.ended(id)
        assert (job.attempt, job.failures) == (2, 1)
        assert not [message for message in it.said[said:] if isinstance(message, GiveBack)]


@virtually
async def test_a_lease_that_the_server_has_forgotten_kills_the_tree_at_once() -> None:
    async with worker_fixture() as it, working(it):
        it.script("stubborn", stubborn)
        id = await it.submit("stubborn")
        await it.until(lambda: it.stage.alive)
        token = next(each.token for each in it.said if isinstance(each, Assignment))
        await WorkerCalls(it.broker).release(token)
        it.script("stubborn", nothing)
        await it.until(lambda: it.logged("lease_lost"))
        await it.until(lambda: not it.stage.alive)
        assert now() < 25
        assert (await it.ended(id)).attempt == 2


@virtually
async def test_a_server_that_hangs_is_a_broken_connection() -> None:
    async with worker_fixture() as it, working(it, span=span(30)):
        it.script("count", count_to_fifty)
        id = await it.submit("count")
        await it.until(lambda: it.stage.alive)
        it.deaf = True
        await it.until(lambda: it.logged("disconnected"))
        assert now() < 25
        it.deaf = False
        it.hearing.set()
        job = await it.ended(id)
        assert (job.attempt, await it.output(id)) == (1, FIFTY)


@virtually
async def test_one_heartbeat_renews_all_jobs_every_third_of_the_span() -> None:
    async with worker_fixture() as it, working(it, slots=3, span=span(60)):
        it.script("sleep", sleep)
        for _ in range(3):
            await it.submit("sleep")
        await it.until(lambda: len(it.stage.alive) == 3)
        it.said.clear()
        await asyncio.sleep(200)
        beats = [message for message in it.said if isinstance(message, Heartbeat)]
        assert len(beats) == pytest.approx(10, abs=1)
        assert {len(beat.tokens) for beat in beats} == {3}


@virtually
async def test_the_deadline_of_a_command_is_the_end_of_its_lease_and_moves_with_renewals() -> None:
    async with worker_fixture() as it, working(it, span=span(60)):
        it.script("sleep", sleep)
        await it.submit("sleep")
        await it.until(lambda: bool(it.stage.alive))
        deadline = it.stage.actors[0].command.deadline
        for _ in range(5):
            assert now() + 30 < deadline.at <= now() + 60
            await asyncio.sleep(25)


@virtually
async def test_an_idle_worker_says_that_it_is_there_every_third_of_the_span() -> None:
    async with worker_fixture() as it, working(it, span=span(60)):
        await asyncio.sleep(1)
        it.said.clear()
        await asyncio.sleep(2_000)
        beats = [message for message in it.said if message == Heartbeat(())]
        assert len(beats) == pytest.approx(100, abs=1)
        assert {type(message) for message in it.said} == {Heartbeat, Renewal}
        it.script("greet", greet)
        assert (await it.outcome(await it.submit("greet"))).exit_code == 0


# Back-pressure


@promise(
    "logs/unread-output-blocks-the-command",
    "A command waits while nobody takes its output. Nothing is dropped, and no buffer grows "
    "without bound.",
)
@virtually
async def test_a_command_waits_while_the_log_does_not_take_its_output() -> None:
    async with worker_fixture() as it, working(it):
        it.script("shout", shout)
        id = await it.submit("shout", timeout_seconds=1_000)
        await it.until(lambda: it.stage.alive)
        it.log.gate.clear()
        await asyncio.sleep(1)
        written = it.stage.actors[0].written
        await asyncio.sleep(5)
        assert it.stage.actors[0].written == written
        it.log.gate.set()
        await it.until(lambda: it.stage.actors[0].written > written)
        await ClientCalls(it.broker).cancel(id, SUE)
        await it.ended(id)


@holds("logs/unread-output-blocks-the-command")
@virtually
async def test_no_more_than_the_window_is_ever_unacknowledged() -> None:
    async with worker_fixture() as it, working(it):
        it.script("shout", shout)
        id = await it.submit("shout")
        await it.until(lambda: it.stage.alive)
        it.log.gate.clear()
        await asyncio.sleep(30)
        stored_at_gate = len(await it.stored(id))
        waiting = it.stage.actors[0].written - stored_at_gate
        assert waiting <= UNACKNOWLEDGED_BYTES_MAX + 2 * (BATCH_BYTES_MAX + PIPE_BYTES)
        it.log.gate.set()
        await ClientCalls(it.broker).cancel(id, SUE)
        await it.ended(id)


@holds("logs/output-is-byte-for-byte")
@virtually
async def test_output_past_the_limit_is_counted_and_marked() -> None:
    async with worker_fixture() as it, working(it):

        async def chatter(actor: Actor) -> int:
            for _ in range(1_000):
                await actor.write(b"0123456789")
            return 0

        it.script("chatter", chatter)
        id = await it.submit("chatter", output_bytes_max=4_321)
        assert (await it.outcome(id)).exit_code == 0
        assert await it.output(id) == (b"0123456789" * 1_000)[:4_321]
        reports = await it.reports(id)
        assert OutputCut(1, 10_000 - 4_321) in reports
        assert isinstance(reports[-1], ProcessEnded)


@virtually
async def test_a_million_short_lines_are_few_chunks() -> None:
    async with worker_fixture() as it, working(it):

        async def lines(actor: Actor) -> int:
            for _ in range(20_000):
                await actor.write(b"x\n")
            await actor.write(b"oops\n", Stream.STDERR)
            return 0

        it.script("lines", lines)
        id = await it.submit("lines")
        await it.ended(id)
        assert await it.output(id) == b"x\n" * 20_000 + b"oops\n"
        assert sum(count_sequences(report) for report in await it.reports(id)) < 20


# Leaving


@virtually
async def test_a_drain_lets_jobs_end_that_end_in_time() -> None:
    async with worker_fixture() as it:
        async with working(it, drain_timeout=100) as worker:
            it.script("count", count_to_fifty)
            id = await it.submit("count")
            await it.until(lambda: it.stage.alive)
            worker.drain()
            waiting = await it.submit("count")
        assert (await it.outcome(id)).exit_code == 3
        assert (await ClientCalls(it.broker).get(waiting)).state is JobState.SCHEDULED
        assert any(isinstance(message, Farewell) for message in it.said)


@promise(
    "jobs/no-blame-no-failure",
    "A release, a drain and a restart count as no failure.",
)
@virtually
async def test_a_drain_gives_back_what_does_not_end_in_time_and_counts_no_failure() -> None:
    async with worker_fixture() as it:
        it.script("stubborn", stubborn)
        async with working(it, drain_timeout=20) as worker:
            id = await it.submit("stubborn", grace_seconds=5)
            await it.until(lambda: it.stage.alive)
            begun = now()
            worker.drain()
        assert now() - begun == pytest.approx(25, abs=1)
        job = await ClientCalls(it.broker).get(id)
        assert (job.state, job.attempt, job.failures) == (JobState.SCHEDULED, 1, 0)


@virtually
async def test_a_kill_gives_back_at_once() -> None:
    async with worker_fixture() as it:
        it.script("stubborn", stubborn)
        async with working(it, drain_timeout=1_000) as worker:
            id = await it.submit("stubborn", grace_seconds=500)
            await it.until(lambda: it.stage.alive)
            begun = now()
            worker.drain()
            worker.kill()
        assert now() - begun < 1
        job = await ClientCalls(it.broker).get(id)
        assert (job.state, job.failures) == (JobState.SCHEDULED, 0)


@virtually
async def test_a_kill_does_not_wait_for_a_server_that_is_away() -> None:
    async with worker_fixture() as it:
        it.script("stubborn", stubborn)
        async with working(it, drain_timeout=1_000) as worker:
            await it.submit("stubborn")
            await it.until(lambda: it.stage.alive)
            it.away = True
            it.cut()
            begun = now()
            worker.kill()
        assert now() - begun < 5


@virtually
async def test_a_cancel_while_draining_is_a_cancel() -> None:
    async with worker_fixture() as it:
        it.script("stubborn", stubborn)
        async with working(it, drain_timeout=1_000) as worker:
            id = await it.submit("stubborn", grace_seconds=5)
            await it.until(lambda: it.stage.alive)
            worker.drain()
            await asyncio.sleep(1)
            await ClientCalls(it.broker).cancel(id, SUE)
        assert (await ClientCalls(it.broker).get(id)).state is JobState.CANCELLED


@virtually
async def test_a_job_that_was_on_its_way_to_a_leaving_worker_goes_back() -> None:
    async with worker_fixture() as it:
        it.script("sleep", sleep)
        async with working(it) as worker:
            await asyncio.sleep(1)
            it.deaf = True  # so that the farewell does not overtake the job
            id = await it.submit("sleep")
            worker.drain()
            it.deaf = False
            it.hearing.set()
        job = await ClientCalls(it.broker).get(id)
        assert (job.state, job.failures) == (JobState.SCHEDULED, 0)
        assert not it.stage.actors


@virtually
async def test_a_worker_of_one_job_returns_how_that_ended() -> None:
    async with worker_fixture() as it:
        it.script("count", count_to_fifty)
        first, second = await it.submit("count"), await it.submit("count")
        outcome = await it.worker(jobs_max=1, slots=4).run()
        assert outcome
        assert (outcome.reason, outcome.exit_code) == (Reason.EXITED, 3)
        assert (await ClientCalls(it.broker).get(first)).state.final
        assert (await ClientCalls(it.broker).get(second)).state is JobState.SCHEDULED


@promise(
    "processes/jobs-max-is-exact",
    "A worker with a maximum number of jobs is never leased more, and exits when they have ended; a "
    "job given back because the worker's disk had no room does not count. The loop that restarts such a worker ends with it, however it is told to end.",
)
@pytest.mark.parametrize("slots", [1, 2, 9])
@virtually
async def test_a_worker_of_a_few_jobs_is_never_leased_more_than_these(slots: int) -> None:
    async with worker_fixture() as it:
        it.script("count", count_to_fifty)
        ids = [await it.submit("count") for _ in range(9)]
        await it.worker(jobs_max=5, slots=slots).run()
        jobs = [await ClientCalls(it.broker).get(id) for id in ids]
        assert [job.state.final for job in jobs] == [True] * 5 + [False] * 4
        assert [job.attempt for job in jobs] == [1] * 5 + [0] * 4


@holds("processes/jobs-max-is-exact")
@virtually
async def test_a_worker_of_a_few_jobs_counts_those_that_it_lost() -> None:
    async with worker_fixture() as it:
        it.script("job", sleep)
        id = await it.submit("job")
        running = it.tasks.create_task(it.worker(jobs_max=2, slots=2).run())
        await it.until(lambda: it.stage.alive)
        it.away = True
        it.cut()
        await it.until(lambda: not it.stage.alive)
        it.script("job", nothing)
        it.away = False
        outcome = await running
        assert outcome
        assert outcome.reason is Reason.EXITED
        job = await it.ended(id)
        assert (job.attempt, job.failures) == (2, 1)


@virtually
async def test_an_idle_worker_leaves_after_a_while() -> None:
    async with worker_fixture() as it:
        it.script("count", count_to_fifty)
        await it.submit("count")
        assert await it.worker(idle_exit=30).run() is None
        assert now() == pytest.approx(80, abs=2)


@virtually
async def test_an_idle_worker_that_never_found_a_server_says_so() -> None:
    async with worker_fixture() as it:
        it.away = True
        assert await _failing(it.worker(idle_exit=30)) == "no server answered for 30 s"
        assert now() < 40


@virtually
async def test_every_worker_is_an_incarnation_of_its_own() -> None:
    async with worker_fixture() as it:
        one = it.worker()
        assert one.id.startswith("ann.")
        assert len(one.id) > len("ann.") + 8


# Refusals


@pytest.mark.parametrize(
    "refusal", [Unauthenticated("no"), NotAllowed("no"), InvalidRequest("hello.queues", "no")]
)
@virtually
async def test_a_worker_that_is_refused_at_first_ends_with_the_reason(refusal: Refused) -> None:
    async with worker_fixture() as it:
        it.refuses = refusal
        with pytest.raises(type(refusal), match="no"):
            await it.worker().run()


@virtually
async def test_a_token_that_is_renewed_late_costs_no_job() -> None:
    async with worker_fixture() as it, working(it, span=span(60)):
        it.script("count", count_to_fifty)
        id = await it.submit("count")
        await asyncio.sleep(5)
        it.refuses = Unauthenticated("the token has expired")
        it.cut()
        await asyncio.sleep(30)
        assert it.stage.alive
        it.refuses = None
        assert (await it.ended(id)).attempt == 1


@virtually
async def test_a_worker_whose_token_stays_bad_ends_when_it_holds_no_job() -> None:
    async with worker_fixture() as it:
        running = it.tasks.create_task(_failing(it.worker(span=span(60))))
        await asyncio.sleep(1)
        it.refuses = Unauthenticated("the token has expired")
        it.cut()
        assert "expired" in await running
        assert 60 < now() < 75


async def _failing(worker: Worker) -> str:
    with pytest.raises(Refused) as caught:
        await worker.run()
    return str(caught.value)


@virtually
async def test_a_worker_waits_for_a_server_that_is_not_there_yet() -> None:
    async with worker_fixture() as it:
        it.away = True
        async with working(it):
            await asyncio.sleep(1_000)
            it.away = False
            it.script("greet", greet)
            assert (await it.outcome(await it.submit("greet"))).exit_code == 0


@virtually
async def test_a_worker_that_leaves_need_not_wait_for_a_server_that_is_away() -> None:
    async with worker_fixture() as it:
        it.away = True
        async with working(it):
            await asyncio.sleep(10)
        assert now() < 20


# A supervisor that dies


@virtually
async def test_a_job_whose_supervisor_died_counts_as_a_failure() -> None:
    async with worker_fixture() as it, working(it):
        it.script("sleep", sleep)
        id = await it.submit("sleep", attempts_max=1)
        await it.until(lambda: it.stage.alive)
        await it.stage.alive[0].lose()
        assert (await it.outcome(id)).reason is Reason.LOST


@virtually
async def test_a_launch_of_which_nobody_knows_whether_it_ran_counts_as_a_failure() -> None:
    async with worker_fixture() as it, working(it):
        it.stage.unwatched.add("greet")
        id = await it.submit("greet", attempts_max=2)
        assert (await it.outcome(id)).reason is Reason.LOST
        assert (await ClientCalls(it.broker).get(id)).failures == 2


@virtually
async def test_a_worker_that_can_start_nothing_gives_the_job_back_and_ends() -> None:
    async with worker_fixture() as it:
        it.stage.closed = True
        id = await it.submit("greet")
        with pytest.raises(SupervisorLost):
            await it.worker().run()
        job = await ClientCalls(it.broker).get(id)
        assert (job.state, job.failures) == (JobState.SCHEDULED, 0)


@virtually
async def test_an_idle_worker_ends_when_its_supervisor_does() -> None:
    async with worker_fixture() as it:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(_ended_by_its_supervisor(it.worker()))
            await until_idle()
            it.stage.dead.set()
            await running
        assert len(it.logged("keeper_lost")) == 1


async def _ended_by_its_supervisor(worker: Worker) -> None:
    with pytest.raises(SupervisorLost, match="restart the worker"):
        await worker.run()


@holds("server/secrets-stay-private")
@virtually
async def test_log_lines_name_jobs_and_hold_no_output_no_environment_and_no_token() -> None:
    async with worker_fixture() as it, working(it):
        it.script("greet", greet)
        id = await it.submit("greet", environment={"SECRET": "hunter2"})
        await it.ended(id)
        await until_idle()
        assert [each["job"] for each in it.logged("job_started")] == [id]
        text = repr(it.journal)
        for secret in ("hunter2", "hello\\n", "token-"):
            assert secret not in text


# Numbers for metrics


@virtually
async def test_the_numbers_of_a_worker_follow_its_jobs() -> None:
    async with worker_fixture() as it, working(it, slots=2) as worker:
        numbers = worker.statistics()
        assert (numbers.jobs_running, numbers.jobs_over) == (0, 0)
        assert (numbers.session.connected, numbers.session.credit) == (1, 2)
        it.script("count", count_to_fifty)
        it.script("greet", greet)
        id = await it.submit("count")
        await it.ended(await it.submit("greet"))
        await until_idle()
        numbers = worker.statistics()
        assert (numbers.jobs_running, numbers.jobs_over) == (1, 1)
        assert (numbers.session.leases_held, numbers.session.credit) == (1, 1)
        assert (numbers.spools.spools_open, numbers.spools.orphans) == (1, 0)
        assert (numbers.supervisor.shims_busy, numbers.supervisor.commands_started) == (1, 2)
        it.log.gate.clear()  # nothing is acknowledged: reports wait in the spool
        await asyncio.sleep(5.5)
        assert worker.statistics().spools.bytes_waiting > 4 * REPORT_BYTES
        it.log.gate.set()
        await asyncio.sleep(0.1)
        assert worker.statistics().spools.bytes_waiting == 0
        await it.ended(id)
        await until_idle()
        numbers = worker.statistics()
        assert (numbers.jobs_running, numbers.jobs_over) == (0, 2)
        assert numbers.session.credit == 2
        assert numbers.spools == SpoolStatistics(
            spools_open=0, orphans=0, bytes_on_disk=0, bytes_waiting=0
        )
        assert numbers.supervisor.shims_busy == 0


@virtually
async def test_the_numbers_of_a_worker_tell_that_its_server_is_away() -> None:
    async with worker_fixture() as it, working(it) as worker:
        await asyncio.sleep(3)
        it.away = True
        it.cut()
        await asyncio.sleep(7)
        numbers = worker.statistics().session
        assert (numbers.connected, numbers.connections) == (0, 1)
        assert numbers.seconds_since_renewal == pytest.approx(10)
        it.away = False
        await it.until(lambda: worker.statistics().session.connected)
        numbers = worker.statistics().session
        assert numbers.connections == 2
        assert numbers.seconds_since_renewal < 1
