"""What airunner promises about every job, whatever happens, as one list of named functions.

A History is an observer with a memory of its own: it is told of every event and
asks the engine nothing, so that a rule that is wrong in the engine is not wrong here
in the same way. Each promise is a function of the history, the engine and one job.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from airunner.model.facts import (
    ArtifactKept,
    ArtifactsDropped,
    CancelRequested,
    Enqueued,
    Event,
    Finished,
    Forgotten,
    JobFact,
    Leased,
    OutputDropped,
    Renewed,
    Reported,
    ReportTotals,
    RetentionFact,
    Returned,
    sequence_count,
)
from airunner.model.jobs import (
    Instant,
    JobId,
    JobRequest,
    JobState,
    Position,
    RequestId,
    Subject,
    TokenDigest,
)
from airunner.model.limits import OUTPUT_SEQUENCE_BYTES_MIN
from airunner.model.namespaces import QueueKey
from airunner.model.protocol.features import Features, needed
from airunner.model.reports import Output, OutputCut, count_sequences
from airunner.model.spec import JobSpec
from airunner.store.engine import Engine
from tests.promises import holds, promise


class History:
    """Everything that was ever logged, by job, and who was passed over or intruded."""

    def __init__(self) -> None:
        self.events: dict[JobId, list[Event]] = defaultdict(list)
        self.keys: dict[tuple[str, Subject, RequestId], set[JobId]] = defaultdict(set)
        self.places: list[Position] = []
        self.passed_over: list[str] = []
        self.intruders: list[str] = []
        self.taken_too_soon: list[str] = []
        self.taken_out_of_turn: list[str] = []
        self.left: dict[JobId, list[int]] = defaultdict(list)  # sizes of artifacts that count
        self.loose: set[tuple[JobId, int]] = set()  # attempts whose numbers may have gaps
        self._holders: dict[TokenDigest, tuple[JobId, int]] = {}
        self._tokens: dict[JobId, TokenDigest] = {}
        self._waiting: dict[QueueKey, dict[JobId, Position]] = defaultdict(dict)
        self._queues: dict[JobId, tuple[QueueKey, Position]] = {}
        self._needs: dict[JobId, Features] = {}
        self._ended: dict[JobId, Instant] = {}

    def spoke(self, token: TokenDigest, facts: Iterable[JobFact], *, gaps: bool = False) -> None:
        """Somebody who named this token has brought about these facts."""
        id, attempt = self._holders.get(token, (None, 0))
        for fact in facts:
            if isinstance(fact, OutputDropped | ArtifactsDropped | Forgotten):
                continue
            if fact.id != id:
                self.intruders.append(f"{fact} by a token that is not of {fact.id}'s lease")
            elif gaps:
                self.loose.add((fact.id, attempt))

    def note(
        self,
        event: Event,
        *,
        watched: Iterable[JobId] = (),
        spared: int = 0,
        asked: Sequence[QueueKey] = (),
        features: Features | None = None,
    ) -> None:
        """Remember an event; `asked`: the queues that a worker named, and its `features`, if known.

        `spared` 0: nor is it known who was watched.
        """
        fact, id = event.fact, event.job
        self.places.append(event.place)
        self.events[id].append(event)
        match fact:
            case Enqueued(_, spec, request, submitter):
                self._queues[id] = spec.queue_key, event.place
                self._needs[id] = needed(spec)
                self._waiting[spec.queue_key][id] = event.place
                if request:
                    self.keys[spec.namespace, submitter, request].add(id)
            case ArtifactKept(artifact=artifact):
                self.left[id].append(artifact.size)
            case Returned():
                self._release(id)
                self.left[id].clear()
                queue, place = self._queues[id]
                self._waiting[queue][id] = place
            case Leased(_, attempt, lease):
                self._lease(id, asked, features)
                self._holders[lease.token] = id, attempt
                self._tokens[id] = lease.token
            case Finished():
                self._release(id)
                self._waiting[self._queues[id][0]].pop(id, None)
                self._ended[id] = event.at
            case Forgotten() | OutputDropped() | ArtifactsDropped():
                self._take(event, watched, spared)
            case Renewed() | CancelRequested() | Reported() | ReportTotals():
                pass

    def acknowledged(self) -> Iterable[JobId]:
        """Jobs whose enqueueing is logged, and which retention has not taken."""
        return (id for id in self.events if not self.forgotten(id))

    def forgotten(self, id: JobId) -> bool:
        return isinstance(self.events[id][-1].fact, Forgotten)

    def _lease(self, id: JobId, asked: Sequence[QueueKey], features: Features | None) -> None:
        queue, place = self._queues[id]
        able = self._needs[id] if features is None else features
        before = [other for other, at in self._waiting[queue].items() if at < place]
        for better in asked[: asked.index(queue)] if asked else ():
            before += self._waiting[better]
        wrong = [f"{other} before {id}" for other in before if self._needs[other] <= able]
        self.passed_over += wrong if self._needs[id] <= able else [f"a worker that cannot run {id}"]
        self._waiting[queue].pop(id)

    def _take(self, event: Event, watched: Iterable[JobId], spared: int) -> None:
        """Retention has taken something of a job."""
        fact, id = event.fact, event.job
        if id in watched or event.at < self._ended[id] + spared:
            self.taken_too_soon.append(f"{fact} at {event.at}")
        if isinstance(fact, OutputDropped):
            return
        if isinstance(fact, ArtifactsDropped):
            older = (
                at for other, at in self._ended.items() if self.left[other] and other not in watched
            )
            if spared and min(older) < self._ended[id]:
                self.taken_out_of_turn.append(f"{fact} at {event.at}")
        else:
            for ids in self.keys.values():
                ids.discard(id)
        self.left[id].clear()

    def _release(self, id: JobId) -> None:
        if token := self._tokens.pop(id, None):
            del self._holders[token]


@promise(
    "jobs/acknowledged-job-exists",
    "An acknowledged job exists until retention removes it. A crash leaves a prefix of the log, "
    "and a server can continue from any prefix.",
)
def acknowledged_jobs_exist(history: History, engine: Engine, id: JobId) -> None:
    """A job whose enqueueing was logged is there until retention takes it."""
    assert (engine.table.find(id) is None) == history.forgotten(id)


@promise(
    "jobs/final-state-stays",
    "A final state never changes. A completion that a worker sends twice gets the same answer "
    "twice.",
)
def a_job_ends_once(history: History, engine: Engine, id: JobId) -> None:
    """One end, recorded once, and nothing after it but retention; the end never changes."""
    facts = [event.fact for event in history.events[id]]
    ends = [at for at, fact in enumerate(facts) if isinstance(fact, Finished)]
    assert len(ends) <= 1
    job = engine.table.find(id)
    if ends:
        end = facts[ends[0]]
        assert isinstance(end, Finished)
        assert end.state.final
        assert all(isinstance(fact, RetentionFact) for fact in facts[ends[0] + 1 :])
        assert job is None or (job.state, job.outcome) == (end.state, end.outcome)
    elif job:
        assert not job.state.final


@promise(
    "jobs/one-worker-at-a-time",
    "A job belongs to one worker at a time. Each lease has a number and a token of its own. When a "
    "lease ends, for any reason, its token opens nothing any more, neither for output nor for "
    "completion.",
)
def at_most_one_attempt_runs(history: History, engine: Engine, id: JobId) -> None:
    """A lease begins only where none is, and only one that runs ends."""
    running = False
    for event in history.events[id]:
        match event.fact:
            case Leased():
                assert not running
                running = True
            case Returned() | Finished(ending=str()):
                assert running
                running = False
            case Renewed() | Reported() | ArtifactKept() | CancelRequested():
                assert running
            case Finished():
                assert not running
    job = engine.table.find(id)
    assert job is None or running == (job.state is JobState.RUNNING)


@holds("jobs/one-worker-at-a-time")
def only_the_holder_of_the_current_token_writes(
    history: History, engine: Engine, id: JobId
) -> None:
    """No token that is not the current lease's brings anything about."""
    assert not history.intruders


@promise(
    "logs/sequences-have-no-gap",
    "Every event of a job has a sequence, counted from 1. Sequences have no gap and no duplicate, "
    "over all attempts.",
)
def sequences_are_without_gap_or_double(history: History, engine: Engine, id: JobId) -> None:
    """A job's visible events are numbered 1, 2, 3 ... over all its attempts."""
    last = 0
    for event in history.events[id]:
        if sequence_count(event.fact):
            assert event.first == last + 1
        assert event.last >= last
        last = event.last
    job = engine.table.find(id)
    assert job is None or job.sequence == last


@promise(
    "logs/stored-once-in-order",
    "A report that is sent twice is stored once. A completion never overtakes output. Both hold "
    "over a network that breaks at any message.",
)
def reports_are_stored_once_and_in_order(history: History, engine: Engine, id: JobId) -> None:
    """What a worker sends twice is stored once; what is stored is what it sent, none missing."""
    attempt, sent = 0, 0
    for event in history.events[id]:
        fact = event.fact
        if not isinstance(fact, Reported):
            continue
        if fact.attempt != attempt:
            assert fact.attempt > attempt
            attempt, sent = fact.attempt, 0
        first = fact.sent - count_sequences(fact.report) + 1
        assert first == sent + 1 or (first > sent and (id, attempt) in history.loose)
        sent = fact.sent
        if isinstance(fact.report, Output):
            numbers = [int(chunk.data.split(b";")[0]) for chunk in fact.report.chunks]
            assert numbers == list(range(first, sent + 1))


@promise(
    "jobs/first-in-first-out",
    "A queue is first in, first out. A worker takes from queues in the order in which it names "
    "them. Waiting workers are served in the order in which they came.",
)
def queues_are_first_in_first_out(history: History, engine: Engine, id: JobId) -> None:
    """Whoever is leased has the lowest place in the first queue that has a job for the worker."""
    assert not history.passed_over


@promise(
    "jobs/request-id-is-one-job",
    "A request id identifies one job of its submitter. A request with the same id and other parameters is refused, "
    "and the error names the first difference.",
)
def a_key_makes_one_job(history: History, engine: Engine, id: JobId) -> None:
    """A submitter's idempotency key stands for one job for as long as that job is kept."""
    for (namespace, submitter, request), ids in history.keys.items():
        assert len(ids) <= 1
        spec = JobSpec(command="true", namespace=namespace)
        known = engine.table.requested(JobRequest(spec=spec, request=request, submitter=submitter))
        assert ({known.id} if known else set()) == ids


@promise(
    "jobs/cancelled-is-the-only-end",
    "A cancelled job ends as CANCELLED and in no other state. A worker confirms the cancel when no "
    "process of the job is left.",
)
def a_cancel_that_was_asked_for_is_the_only_end(
    history: History, engine: Engine, id: JobId
) -> None:
    """After CancelRequested a job neither returns nor is leased, and ends CANCELLED."""
    asked = False
    for event in history.events[id]:
        fact = event.fact
        if asked:
            assert not isinstance(fact, Returned | Leased | CancelRequested)
            assert not isinstance(fact, Finished) or fact.state is JobState.CANCELLED
        asked = asked or isinstance(fact, CancelRequested)


@holds("jobs/one-worker-at-a-time")
def attempt_numbers_are_never_reused(history: History, engine: Engine, id: JobId) -> None:
    """Leases are numbered 1, 2, 3 ..."""
    facts = (event.fact for event in history.events[id])
    attempts = [fact.attempt for fact in facts if isinstance(fact, Leased)]
    assert attempts == list(range(1, len(attempts) + 1))
    job = engine.table.find(id)
    assert job is None or job.attempt == len(attempts)


@promise(
    "jobs/worker-death-loses-no-job",
    "The death of a worker loses no job. The job returns to its old place in line. After "
    "`attempts_max` failures it is FAILED as `lost`.",
)
def failures_are_bounded(history: History, engine: Engine, id: JobId) -> None:
    """A job fails as lost with its last allowed failure, not sooner and not later."""
    limit = 0
    for event in history.events[id]:
        match event.fact:
            case Enqueued(_, spec):
                limit = spec.attempts_max
            case Returned(failures=failures):
                assert failures < limit
            case Finished(failures=failures):
                assert failures <= limit


@promise(
    "logs/output-is-byte-for-byte",
    "Output is byte for byte what the command wrote. Where a limit cuts it, a mark counts the "
    "missing bytes.",
)
def output_keeps_within_its_bounds(history: History, engine: Engine, id: JobId) -> None:
    """Of each job, and of all jobs together."""
    keep = engine.queue.retention
    assert engine.table.output_bytes <= keep.output_bytes_total
    if job := engine.table.find(id):
        assert job.output_bytes <= min(keep.output_bytes_per_job, job.spec.output_bytes_max)
    assert len(engine.table) <= keep.jobs_max


@promise(
    "logs/log-of-a-job-is-bounded",
    "The log of a job is bounded over all its attempts: its remarks and other reports, the number of "
    "its leases, and the number of pieces of its output. A remark says where reports are left out, and marks keep "
    "their sequences.",
)
def reports_and_leases_keep_within_their_bounds(
    history: History, engine: Engine, id: JobId
) -> None:
    """Marks follow each other without end, and are one event in a log."""
    keep, events = engine.queue.retention, history.events[id]
    facts = [event.fact for event in events]
    reports = [fact.report for fact in facts if isinstance(fact, Reported)]
    others = [each for each in reports if not isinstance(each, Output | OutputCut)]
    assert len(others) <= keep.reports_per_job + 1
    first, leases = facts[0], sum(isinstance(fact, Leased) for fact in facts)
    if isinstance(first, Enqueued):
        assert leases <= keep.leases_per_job + first.spec.attempts_max - 1
        room = min(keep.output_bytes_per_job, first.spec.output_bytes_max)
        limit = 2 * keep.reports_per_job + room // OUTPUT_SEQUENCE_BYTES_MIN
        for event in events:
            if isinstance(event.fact, Reported) and isinstance(event.fact.report, Output):
                assert event.last <= limit
    if (job := engine.table.find(id)) and not job.state.final:
        assert job.reports == len(others)


@holds("server/memory-is-bounded")
def specs_and_results_of_steps_keep_within_their_bounds(
    history: History, engine: Engine, id: JobId
) -> None:
    """Of all jobs together."""
    jobs = engine.table.jobs()
    assert sum(job.bulk_bytes for job in jobs) <= engine.queue.retention.spec_bytes_max


@holds("results/artifacts-are-fenced")
def artifacts_are_those_of_the_latest_attempt(history: History, engine: Engine, id: JobId) -> None:
    """What an attempt left is void when another has to come; what retention took is gone."""
    attempt = 0
    for event in history.events[id]:
        match event.fact:
            case Leased(attempt=number):
                attempt = number
            case ArtifactKept(attempt=number):
                assert number == attempt
    if job := engine.table.find(id):
        left = history.left[id]
        assert (job.artifacts, job.artifact_bytes) == (len(left), sum(left))


@promise(
    "results/artifact-storage-is-bounded",
    "A server bounds the artifacts of each job and of all jobs. The artifacts of the job that "
    "ended first go first. The server removes none of a watched job, and none within 10 minutes of "
    "the end of its job.",
)
def artifacts_keep_within_their_bounds(history: History, engine: Engine, id: JobId) -> None:
    """Of each job, and of all jobs together."""
    keep = engine.queue.retention
    assert engine.table.artifact_bytes <= keep.artifact_bytes_total
    assert sum(history.left[id]) <= keep.artifact_bytes_per_job


@promise(
    "server/memory-is-bounded",
    "The server's memory is bounded by retention, scripts of megabytes included. The oldest "
    "finished jobs go first; none goes while it is watched or within 10 minutes of its end.",
)
@holds("results/artifact-storage-is-bounded")
def retention_spares_the_young_and_the_watched(history: History, engine: Engine, id: JobId) -> None:
    assert not history.taken_too_soon


@holds("results/artifact-storage-is-bounded")
def the_oldest_artifacts_go_first(history: History, engine: Engine, id: JobId) -> None:
    assert not history.taken_out_of_turn


@holds("jobs/acknowledged-job-exists")
def the_log_has_one_order(history: History, engine: Engine, id: JobId) -> None:
    """Places are 1, 2, 3 ..."""
    assert history.places[-1] == len(history.places) == engine.tail


INVARIANTS: tuple[Callable[[History, Engine, JobId], None], ...] = (
    acknowledged_jobs_exist,
    a_job_ends_once,
    at_most_one_attempt_runs,
    only_the_holder_of_the_current_token_writes,
    sequences_are_without_gap_or_double,
    reports_are_stored_once_and_in_order,
    queues_are_first_in_first_out,
    a_key_makes_one_job,
    a_cancel_that_was_asked_for_is_the_only_end,
    attempt_numbers_are_never_reused,
    failures_are_bounded,
    output_keeps_within_its_bounds,
    reports_and_leases_keep_within_their_bounds,
    specs_and_results_of_steps_keep_within_their_bounds,
    artifacts_are_those_of_the_latest_attempt,
    artifacts_keep_within_their_bounds,
    retention_spares_the_young_and_the_watched,
    the_oldest_artifacts_go_first,
    the_log_has_one_order,
)
