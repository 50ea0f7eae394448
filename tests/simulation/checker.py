"""The checker of the simulation: airunner's promises against the records of clients and processes.

The checker knows neither the engine nor its log. Each promise is a function of one Case: it returns
nothing, and raises an AssertionError that names the job. CHECKS is the list of all promises.

A process of an attempt may live from the time of the server's lease to the time of the attempt's
end in the log, for every kind of end. A worker without a connection has killed its process by then:
the worker counts its lease from the time it sent the acknowledged message, the server from the
later arrival. A kill takes no time in the simulation, so the check is exact to the millisecond, the
unit of server time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from airunner.model.job_events import (
    ArtifactStored,
    JobCancelRequested,
    JobEnqueued,
    JobEvent,
    JobFinished,
    JobLeased,
    JobReturned,
)
from airunner.model.jobs import AttemptEnd, Instant, Job, JobId, JobState, Outcome, Position, Reason
from airunner.model.proof.chain import next_link
from airunner.model.proof.seal import NOTHING
from airunner.model.reports import (
    Output,
    OutputCut,
    ProcessEnded,
    ProcessStarted,
    StepEnded,
    StepStarted,
    Stream,
)
from airunner.model.steps import Step, StepStatus
from tests.promises import holds, promise
from tests.simulation.artifacts import made_by
from tests.simulation.commands import Performance
from tests.simulation.hosts import LEASES_PER_JOB
from tests.simulation.observations import Testimony

Pipe = tuple[int | None, Stream]  # the step's index, None without steps

MOMENT: Final = 0.0015  # seconds: server time is in whole ms
IDLE_SECONDS_MAX: Final = 8.0  # a job's longest wait beside a free worker, without faults


@dataclass(frozen=True, slots=True)
class Turn:
    """An attempt, reconstructed from the job's events."""

    number: int
    host: str
    worker: str
    taken_at: Instant
    ended_at: Instant
    entries: tuple[JobEvent, ...]  # the events of the attempt between lease and end
    end: JobReturned | JobFinished


class Case:
    """The records of a simulation, and the values that the checks derive from them."""

    def __init__(self, testimony: Testimony) -> None:
        self.testimony = testimony

    @cached_property
    def stories(self) -> dict[JobId, list[JobEvent]]:
        return self.testimony.whole()

    @cached_property
    def jobs(self) -> dict[JobId, Job]:
        """Every job of the last list."""
        lists = self.testimony.lists
        return {job.id: job for job in lists[-1].jobs} if lists else {}

    @cached_property
    def turns(self) -> dict[JobId, list[Turn]]:
        return {id: list(_turns(story)) for id, story in self.stories.items()}

    @cached_property
    def performances(self) -> dict[tuple[JobId, int], list[Performance]]:
        found: dict[tuple[JobId, int], list[Performance]] = defaultdict(list)
        for each in self.testimony.performances:
            found[each.job, each.attempt].append(each)
        return found


def _turns(story: Sequence[JobEvent]) -> Iterator[Turn]:
    taken: JobEvent | None = None
    said: list[JobEvent] = []
    for entry in story:
        match entry.body:
            case JobLeased():
                taken, said = entry, []
            case JobReturned() | JobFinished() as end if taken:
                assert isinstance(taken.body, JobLeased)
                worker = taken.body.worker
                host = worker.partition(".")[0]
                yield Turn(taken.attempt, host, worker, taken.at, entry.at, tuple(said), end)
                taken = None
            case _:
                said.append(entry)


# Jobs


@promise(
    "jobs/nothing-gets-stuck",
    "No job gets stuck. Once every fault is repaired, every job ends, every watcher sees the end, "
    "and no worker is idle while one of its queues has jobs.",
)
def everything_ends(case: Case) -> None:
    assert not case.testimony.stuck, case.testimony.stuck
    assert case.testimony.lists, "nobody could list"
    for id in case.jobs:
        assert id in case.stories, f"{id} was never seen whole"


@holds("jobs/acknowledged-job-exists")
def acknowledged_jobs_exist(case: Case) -> None:
    """Every list that was requested after an acknowledgement has the acknowledged job."""
    for listed in case.testimony.lists:
        there = {job.id for job in listed.jobs}
        for each in case.testimony.acknowledged:
            if each.told_at <= listed.asked_at:
                assert each.id in there, f"{each.id} was acknowledged and is not in the list"


@holds("jobs/request-id-is-one-job")
def a_key_makes_one_job(case: Case) -> None:
    made = Counter(job.request for job in case.jobs.values() if job.request)
    assert all(count == 1 for count in made.values()), made
    ids = {job.request: job.id for job in case.jobs.values()}
    for each in case.testimony.acknowledged:
        if each.key:
            assert ids[each.key] == each.id, f"{each.key} stands for {each.id} and another"


@holds("jobs/request-id-is-one-job")
def a_job_is_what_was_asked_for(case: Case) -> None:
    for each in case.testimony.acknowledged:
        job = case.jobs[each.id]
        assert (job.spec, job.request, job.retry_of) == (each.spec, each.key, each.retry_of), job
    for job in case.jobs.values():
        assert not job.request or job.request in case.testimony.keys, job


@holds("jobs/acknowledged-job-exists")
def nothing_is_taken_back(case: Case) -> None:
    """No later answer has an older state of a job; no request for an existing job is refused."""
    assert not case.testimony.refusals, case.testimony.refusals
    glimpses = defaultdict(list)
    for each in case.testimony.glimpses:
        glimpses[each.job.id].append(each)
    for listed in case.testimony.lists:
        for job in listed.jobs:
            for each in glimpses[job.id]:
                if each.told_at <= listed.asked_at:
                    assert each.job.sequence <= job.sequence, f"{job.id} went back"
    for all_of_it in glimpses.values():
        for one in all_of_it:
            for other in all_of_it:
                if one.told_at <= other.asked_at:
                    assert one.job.sequence <= other.job.sequence, f"{one.job.id} went back"
                    assert one.job.attempt <= other.job.attempt, f"{one.job.id} went back"
                    assert one.job.failures <= other.job.failures, f"{one.job.id} went back"


@holds("jobs/final-state-stays")
def a_job_ends_once(case: Case) -> None:
    """A job has one end, the same for all clients, and no event after the end."""
    for id, story in case.stories.items():
        *before, last = story
        assert isinstance(last.body, JobFinished), id
        assert not any(isinstance(entry.body, JobFinished) for entry in before), id
        listed = case.jobs[id]
        assert (listed.state, listed.outcome) == (last.body.state, last.body.outcome), id
        assert listed.sequence == last.last, id
    seen = [each.job for each in case.testimony.glimpses]
    seen += [job for listed in case.testimony.lists for job in listed.jobs]
    for job in seen:
        if job.state.final:
            assert job.outcome == case.jobs[job.id].outcome, f"{job.id} ended twice"
            assert job.state == case.jobs[job.id].state, f"{job.id} ended twice"


@holds("jobs/one-worker-at-a-time")
def attempts_follow_each_other(case: Case) -> None:
    """Attempts are 1, 2, 3 ..., one at a time, and every report belongs to the running attempt."""
    for id, story in case.stories.items():
        assert isinstance(story[0].body, JobEnqueued), id
        number, running, cancelling = 0, False, False
        for entry in story[1:]:
            match entry.body:
                case JobLeased():
                    assert not running, f"{id}: taken twice"
                    number, running = number + 1, True
                    assert entry.attempt == number, f"{id}: attempt {entry.attempt}, not {number}"
                case JobReturned():
                    assert running, id
                    assert not cancelling, id
                    assert entry.attempt == number, id
                    running = False
                case JobCancelRequested():
                    assert running, id
                    assert not cancelling, id
                    cancelling = True
                case JobFinished():
                    assert entry.attempt == (number if running else 0), id
                case _:
                    assert running, f"{id}: written after the end of an attempt"
                    assert entry.attempt == number, f"{id}: written by attempt {entry.attempt}"


@holds("jobs/worker-death-loses-no-job", "logs/log-of-a-job-is-bounded")
def failures_are_bounded(case: Case) -> None:
    for id, turns in case.turns.items():
        job, failures = case.jobs[id], 0
        for turn in turns:
            if isinstance(turn.end, JobReturned):
                often = turn.number >= LEASES_PER_JOB
                failures += turn.end.ending is not AttemptEnd.RELEASED or often
                assert turn.end.failures == failures < job.spec.attempts_max, id
        assert failures <= job.failures <= min(failures + 1, job.spec.attempts_max), id
        assert job.outcome
        assert len(turns) < LEASES_PER_JOB + job.spec.attempts_max, id
        if job.outcome.reason is Reason.LOST:
            assert job.failures == job.spec.attempts_max, id


@holds("jobs/first-in-first-out")
def queues_are_first_in_first_out(case: Case) -> None:
    lines: dict[str, list[tuple[Position, JobId, Instant, Instant, bool]]] = defaultdict(list)
    for id, story in case.stories.items():
        job = case.jobs[id]
        lines[job.spec.queue] += [(job.place, id, *wait) for wait in _waits(story)]
    for line in lines.values():
        for place, id, _, until, taken in line:
            for other_place, other, since, other_until, _ in line:
                passed_over = other_place < place and since < until < other_until
                assert not (taken and passed_over), f"{id} was taken before {other}"


def _waits(story: Sequence[JobEvent]) -> Iterator[tuple[Instant, Instant, bool]]:
    """The job's waits in its queue: begin, end, and True if a lease ended the wait."""
    since: Instant | None = None
    for entry in story:
        match entry.body:
            case JobEnqueued() | JobReturned():
                since = entry.at
            case JobLeased() | JobFinished() if since is not None:
                yield since, entry.at, isinstance(entry.body, JobLeased)
                since = None


@holds("jobs/cancelled-is-the-only-end")
def a_cancel_that_was_answered_is_the_only_end(case: Case) -> None:
    for glimpse in case.testimony.cancelled:
        job = case.jobs[glimpse.job.id]
        assert glimpse.job.cancel_requested_at is not None or glimpse.job.state.final, job.id
        assert job.state is JobState.CANCELLED, f"{job.id} was to be cancelled: {job.state}"
    for id, story in case.stories.items():
        if any(isinstance(entry.body, JobCancelRequested) for entry in story):
            assert case.jobs[id].state is JobState.CANCELLED, id


@promise(
    "jobs/time-moves-forward",
    "Time never goes back. A server's clock may jump between two starts, and the times of its "
    "events never decrease.",
)
def time_goes_forward(case: Case) -> None:
    for viewing in case.testimony.viewings:
        for one, other in pairwise(viewing.entries):
            assert one.at <= other.at, f"{viewing.id}: time went back before {other.first}"


@holds("jobs/first-in-first-out")
def lists_are_in_one_order(case: Case) -> None:
    for listed in case.testimony.lists:
        places = [job.place for job in listed.jobs]
        assert places == sorted(set(places), reverse=True), places


@holds("jobs/nothing-gets-stuck")
def nobody_idles_while_there_is_work(case: Case) -> None:
    """Without faults, no job stays in its queue while a worker of the queue has a free slot."""
    testimony = case.testimony
    busy: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for turns in case.turns.values():
        for turn in turns:
            start, _ = testimony.loop_times(turn.taken_at)
            _, end = testimony.loop_times(turn.ended_at)
            busy[turn.worker] += [(start, 1), (end, -1)]
    for id, story in case.stories.items():
        for since, until, _ in _waits(story):
            begin = max(testimony.loop_times(since)[1], testimony.calm_from)
            end, _ = testimony.loop_times(until)
            for worker, queues in testimony.serves.items():
                if case.jobs[id].spec.queue in queues and worker in testimony.slots:
                    free = _free(busy[worker], testimony.slots[worker], begin, end)
                    assert free < IDLE_SECONDS_MAX, f"{id} waited for {free} s beside {worker}"


def _free(steps: list[tuple[float, int]], slots: int, begin: float, end: float) -> float:
    """The longest time with a free slot between `begin` and `end`."""
    longest, taken, since = 0.0, 0, begin
    for at, step in [*sorted(steps), (end, 0)]:
        if taken < slots:
            longest = max(longest, min(at, end) - since)
        taken += step
        since = max(begin, at)
    return longest


# Logs


@holds("logs/sequences-have-no-gap", "logs/follower-misses-nothing")
def every_sequence_is_seen_once(case: Case) -> None:
    """Every watcher sees the sequences 1, 2, 3 ..., over any number of broken connections."""
    for viewing in case.testimony.viewings:
        expected = viewing.start
        for entry in viewing.entries:
            assert entry.first == expected, f"{viewing.id}: {entry.first}, not {expected}"
            expected = entry.last + 1


@holds("logs/sequences-have-no-gap")
def everybody_sees_the_same(case: Case) -> None:
    seen: dict[tuple[JobId, int], object] = {}
    for viewing in case.testimony.viewings:
        for entry in viewing.entries:
            for sequence, what in _pieces(entry):
                known = seen.setdefault((viewing.id, sequence), what)
                assert known == what, f"{viewing.id}, {sequence}: {known} and {what}"


def _pieces(entry: JobEvent) -> Iterator[tuple[int, object]]:
    """The content of an event for each of its sequence numbers."""
    if isinstance(entry.body, Output):
        for sequence, chunk in enumerate(entry.body.chunks, entry.first):
            yield sequence, (entry.at, entry.attempt, chunk)
    elif isinstance(entry.body, OutputCut):
        for sequence in range(entry.first, entry.last + 1):
            yield sequence, (entry.attempt, "cut")
    else:
        yield entry.first, (entry.at, entry.attempt, entry.body)


@holds("logs/finished-log-is-sealed")
def seals_hold(case: Case) -> None:
    """The hash chain over a watcher's events equals the chain of the server's seal."""
    for id, story in case.stories.items():
        link, size, cut = NOTHING, 0, 0
        for entry in story:
            if isinstance(entry.body, JobFinished):
                unsealed = replace(entry, body=replace(entry.body, seal=None))
                link = next_link(link, unsealed)
                seal = entry.body.seal
                assert seal, f"{id} is not sealed"
                assert (seal.count, seal.size, seal.cut) == (entry.last, size, cut), id
                assert seal.digest == link, f"{id}: its seal is of something else"
            else:
                link = next_link(link, entry)
            assert entry.link == link, f"{id}: the chain breaks at {entry.first}"
            size += entry.body.size if isinstance(entry.body, Output) else 0
            cut += entry.body.size if isinstance(entry.body, OutputCut) else 0


@holds("logs/output-is-byte-for-byte")
def output_is_what_was_written(case: Case) -> None:
    """Logged output is its step's: complete if a worker reported the end, otherwise a prefix."""
    for id, turns in case.turns.items():
        for turn in turns:
            wrote: dict[Pipe, bytes] = {}
            for each in case.performances.get((id, turn.number), []):
                wrote |= {(each.step, stream): bytes(data) for stream, data in each.wrote.items()}
            kept, cut = _kept(turn.entries)
            for pipe, data in kept.items():
                written = wrote.get(pipe, b"")
                assert written.startswith(data), f"{id}: {pipe} of attempt {turn.number}"
            outcome = turn.end.outcome if isinstance(turn.end, JobFinished) else None
            if outcome and outcome.log_complete:
                total = sum(map(len, wrote.values()))
                assert total == cut + sum(map(len, kept.values())), f"{id}: its end is missing"
            elif outcome:
                excused = outcome.reason is Reason.LOST or "was lost" in outcome.error
                excused = excused or (id, turn.number) in case.testimony.damaged
                assert excused, f"{id}: nothing was lost, and yet its log is said to be incomplete"


def _kept(entries: Sequence[JobEvent]) -> tuple[dict[Pipe, bytes], int]:
    kept: dict[Pipe, bytes] = defaultdict(bytes)
    cut = 0
    for entry in entries:
        if isinstance(entry.body, Output):
            assert not cut, "output follows a cut"
            for chunk in entry.body.chunks:
                kept[entry.body.step, chunk.stream] += chunk.data
        elif isinstance(entry.body, OutputCut):
            cut += entry.body.size
    return kept, cut


# Steps


@promise(
    "processes/steps-run-in-order",
    "Steps run one after the other in one workspace. Each step has a process tree of its own, and "
    "nothing of that tree is left when the next step begins. The first failing step ends the job "
    "with its exit code, and the steps behind it are skipped.",
)
def steps_follow_each_other(case: Case) -> None:
    """Steps are 0, 1, 2 ..., one at a time; each step has one end unless its attempt died.

    Processes and output belong to the running step; a job without steps has no step events.
    """
    for id, turns in case.turns.items():
        spec = case.jobs[id].spec
        for turn in turns:
            begun, over = -1, True
            for entry in turn.entries:
                where = f"{id}: attempt {turn.number}, {entry.body}"
                match entry.body:
                    case StepStarted(index, name):
                        assert spec.steps, where
                        assert over, where
                        assert (index, name) == (begun + 1, spec.steps[index].title), where
                        begun, over = index, False
                    case StepEnded(index, name):
                        assert spec.steps, where
                        assert not over, where
                        assert (index, name) == (begun, spec.steps[index].title), where
                        over = True
                    case Output(step=step):
                        assert step == (None if spec.steps is None else begun), where
                        assert over == (step is None), where
                    case ProcessStarted() | ProcessEnded():
                        assert over == (spec.steps is None), where
            if _told_by_worker(turn):
                assert over, f"{id}: step {begun} of attempt {turn.number} has no end"
                assert spec.steps is None or begun < len(spec.steps), id


@holds("processes/steps-run-in-order")
def outcomes_agree_with_their_steps(case: Case) -> None:
    """A step's result is that of its end, or skipped; the first failure decides the job's end."""
    for id, turns in case.turns.items():
        steps = case.jobs[id].spec.steps
        for turn in turns:
            outcome = _told_by_worker(turn)
            if outcome is None:
                continue
            if steps is None or not outcome.steps:
                assert not outcome.steps, f"{id}: {outcome}"
                ran = any(isinstance(entry.body, StepStarted) for entry in turn.entries)
                assert not ran, f"{id}: nothing is said of its steps: {outcome}"
                continue
            said = [each.body for each in turn.entries if isinstance(each.body, StepEnded)]
            assert len(outcome.steps) == len(steps), f"{id}: {outcome}"
            for index, (step, result) in enumerate(zip(steps, outcome.steps, strict=True)):
                assert result.name == step.title, f"{id}: {result}"
                if index < len(said):
                    end = said[index]
                    told = (end.status, end.exit_code)
                else:
                    told = (StepStatus.SKIPPED, None)
                assert (result.status, result.exit_code) == told, f"{id}: {result}, not {told}"
            _first_failure_decides(id, steps, outcome)


def _first_failure_decides(id: JobId, steps: Sequence[Step], outcome: Outcome) -> None:
    results = outcome.steps
    if outcome.reason is Reason.CANCELLED:
        return
    failed = [
        index
        for index, (step, result) in enumerate(zip(steps, results, strict=True))
        if result.status not in (StepStatus.SUCCESS, StepStatus.SKIPPED)
        and not step.continue_on_error
    ]
    skipped = [index for index, each in enumerate(results) if each.status is StepStatus.SKIPPED]
    stopped = outcome.reason is Reason.TIMEOUT  # between two steps or during a step
    if failed:
        assert len(failed) == 1, f"{id}: {outcome}"
        assert outcome.exit_code == results[failed[0]].exit_code, f"{id}: {outcome}"
        assert skipped == list(range(failed[0] + 1, len(steps))), f"{id}: {outcome}"
    elif not stopped:
        well = outcome.reason in (Reason.EXITED, Reason.ARTIFACTS_FAILED)
        assert well, f"{id}: {outcome}"
        assert outcome.exit_code == 0, f"{id}: {outcome}"
        assert not skipped, f"{id}: {outcome}"


def _told_by_worker(turn: Turn) -> Outcome | None:
    """The outcome of an attempt with a complete log; None if the worker did not report it."""
    if not isinstance(turn.end, JobFinished) or not turn.end.outcome.log_complete:
        return None
    outcome = turn.end.outcome
    given_back = outcome.reason is Reason.CANCELLED and not outcome.steps
    return None if given_back else outcome


# Artifacts


@promise(
    "results/artifacts-are-fenced",
    "Artifacts count only under the lease of their attempt. Only its token stores them, they are "
    "void when the job returns to its queue, and they stay, byte for byte, with the attempt that "
    "ends the job.",
)
def what_was_kept_is_there(case: Case) -> None:
    """Artifacts of the attempt that ended its job exist byte for byte; other attempts have none."""
    for id, turns in case.turns.items():
        last = turns[-1] if turns and isinstance(turns[-1].end, JobFinished) else None
        entries = last.entries if last else ()
        told = [each.body.artifact for each in entries if isinstance(each.body, ArtifactStored)]
        job, made = case.jobs[id], made_by(id, last.number) if last else []
        assert job.spec.artifacts or not told, f"{id} keeps what nobody wanted"
        sizes = [each.size for each in told]
        assert (job.artifacts, job.artifact_bytes) == (len(sizes), sum(sizes)), id
        found = case.testimony.found[id]
        assert {artifact for artifact, _ in found} == {*told}, f"{id}: {told}, not {found}"
        for artifact, data in found:
            assert (artifact, data) in made, f"{id}: {artifact} is not what was made"
        for attempt, artifact in case.testimony.kept:
            lost = last and attempt == (id, last.number) and artifact not in told
            assert not lost, f"{id}: {artifact} was kept, and is not in the log"
        ran = job.spec.steps != ()
        if last and ran and job.spec.artifacts and job.state is JobState.COMPLETED:
            assert len(made) == len({*told}), f"{id}: not all is there"


# Processes


@holds("jobs/one-worker-at-a-time")
def an_attempt_has_one_process(case: Case) -> None:
    """An attempt has at most one process, or one for each step, on its worker, after its lease.

    The process of a step has ended when the process of the next step begins.
    """
    attempts = {(id, turn.number): turn for id, turns in case.turns.items() for turn in turns}
    for key, performances in case.performances.items():
        assert key in attempts, f"{key} ran without a lease"
        turn, (first, *others) = attempts[key], performances
        steps = [-1 if each.step is None else each.step for each in performances]
        if case.jobs[key[0]].spec.steps is None:
            assert steps == [-1], f"{key} ran {1 + len(others)} times"
        else:
            assert steps == sorted({*steps} - {-1}), f"{key} ran steps {steps}"
        for one, other in pairwise(performances):
            assert one.ended is not None, f"{key}: step {other.step} began too soon"
            assert one.ended <= other.began, f"{key}: step {other.step} began too soon"
        assert {each.host for each in performances} == {turn.host}, (
            f"{key} did not run on {turn.host}"
        )
        taken_at, _ = case.testimony.loop_times(turn.taken_at)
        assert first.began >= taken_at - MOMENT, f"{key} began before its lease"


@holds("jobs/worker-stops-first")
def no_process_outlives_its_attempt(case: Case) -> None:
    """No two processes of a job overlap, and no process of a CANCELLED job lives."""
    for id, turns in case.turns.items():
        for turn in turns:
            over = case.testimony.loop_times(turn.ended_at)[1] + MOMENT
            for each in case.performances.get((id, turn.number), []):
                late = each.ended is None or each.ended > over
                assert not late, f"{id}: attempt {turn.number} ran on after {over}: {each}"


@promise(
    "jobs/end-is-true",
    "The end of a job is true. An exit code in an outcome is the exit code of a process, and the "
    "log has every attempt that ran.",
)
@holds("jobs/final-state-stays")
def ends_are_true(case: Case) -> None:
    """An outcome's exit code is its process's exit code; a command that was not found never ran."""
    for id, turns in case.turns.items():
        for turn in turns:
            if not isinstance(turn.end, JobFinished):
                continue
            outcome = turn.end.outcome
            performances = case.performances.get((id, turn.number), [])
            if case.jobs[id].spec.steps is not None:
                _ends_of_steps_are_true(id, outcome, performances)
                continue
            exit = performances[0].exit if performances else None
            match outcome.reason:
                case Reason.EXITED | Reason.SIGNALED | Reason.TIMEOUT:
                    assert exit, f"{id} never ran, and yet it {outcome.reason}"
                    assert (exit.code, exit.signal) == (outcome.exit_code, outcome.signal), id
                case Reason.ARTIFACTS_FAILED:
                    assert exit, f"{id} never ran, and yet it {outcome.reason}"
                    assert exit.code == outcome.exit_code == 0, id
                case Reason.NOT_FOUND | Reason.NOT_EXECUTABLE | Reason.SETUP_FAILED:
                    assert not performances, f"{id} ran, and yet it is {outcome.reason}"
                case Reason.CANCELLED | Reason.LOST:
                    pass
                case _:
                    raise AssertionError(f"{id} ended with {outcome}")


def _ends_of_steps_are_true(
    id: JobId, outcome: Outcome, performances: Sequence[Performance]
) -> None:
    """A step's exit code is its process's exit code; a step that never ran has none."""
    by_step = {each.step: each for each in performances}
    for index, result in enumerate(outcome.steps):
        if index in by_step:
            exit = by_step[index].exit
            assert exit, f"{id}: step {index} has not ended, and yet: {result}"
            assert exit.code == result.exit_code, f"{id}: step {index} exited with {exit}: {result}"
        else:
            assert result.exit_code is None, f"{id}: step {index} never ran: {result}"


Check = Callable[[Case], None]

CHECKS: Final[tuple[Check, ...]] = (
    everything_ends,
    nothing_is_taken_back,
    acknowledged_jobs_exist,
    a_key_makes_one_job,
    a_job_is_what_was_asked_for,
    a_job_ends_once,
    attempts_follow_each_other,
    failures_are_bounded,
    queues_are_first_in_first_out,
    a_cancel_that_was_answered_is_the_only_end,
    time_goes_forward,
    lists_are_in_one_order,
    nobody_idles_while_there_is_work,
    every_sequence_is_seen_once,
    everybody_sees_the_same,
    seals_hold,
    output_is_what_was_written,
    steps_follow_each_other,
    outcomes_agree_with_their_steps,
    what_was_kept_is_there,
    an_attempt_has_one_process,
    no_process_outlives_its_attempt,
    ends_are_true,
)


def complaints(testimony: Testimony) -> list[str]:
    """The broken promises, each with the name of its check."""
    case, found = Case(testimony), list[str]()
    for check in CHECKS:
        try:
            check(case)
        except AssertionError as broken:
            found.append(f"{check.__name__}: {str(broken)[:400]}")
        except KeyError as missing:  # a client has seen a job that is missing from the list
            found.append(f"{check.__name__}: {missing} is not there")
    return found
