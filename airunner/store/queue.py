"""The job queue: a pure state machine that decides the state of every job.

Rule 1: every rule about the state of a job is in this folder.

Rule 2: this folder uses no clock, no network, no disk and no random numbers. Times, ids and tokens
come in as arguments; facts go out as values.

How it works
============

    SCHEDULED --lease--> RUNNING --finish, or lapsed too often--> COMPLETED or FAILED
        ^                   |
        '---- returned -----'

    cancel of a SCHEDULED job:  CANCELLED, at once
    cancel of a RUNNING job:    RUNNING, and CANCELLED is the only end that remains

A verb (enqueue, lease, renew, ...) reads the state and returns the facts that should become true. It
changes nothing. apply() makes one fact true. Nothing else changes the state, and apply() cannot
refuse. To replay a log is therefore to apply() it, and no later rule changes the meaning of an old
log.

The fence: each call looks its token up. The moment a lease ends, for any reason, its holder is
refused, for output as for completion. The digests of ended leases stay with the job for one purpose:
a worker that repeats a completion, because the first answer was lost, gets OK again.

Attempts and failures are two numbers. `attempt` counts leases and is never reused, so no two
processes share a number. `failures` counts the leases that lapsed or were reported dead; it alone
decides when the queue gives up on a job. Beyond LEASES_PER_JOB_MAX leases each lease that ends without a
completion is a failure, so no worker fills the log with leases of one job.

Rejected: a heap for each waiting line (its entries have no rank, so "3 jobs ahead" would need a
scan); a periodic sweep that expires leases (late by up to its period, while next_deadline() lets the
caller be on time); a dead state beside FAILED (a sixth state that every reader must know; the reason
of the outcome says it).
"""

from collections.abc import Container, Sequence

from msgspec.structs import replace

from airunner.model.artifacts import Artifact
from airunner.model.errors import (
    AlreadyFinished,
    CancelPending,
    IdempotencyConflict,
    InvalidRequest,
    OutOfSequence,
)
from airunner.model.facts import (
    ArtifactKept,
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
    Returned,
)
from airunner.model.jobs import (
    EPOCH,
    AttemptEnd,
    Instant,
    Job,
    JobId,
    JobRequest,
    JobState,
    Lease,
    Millis,
    Outcome,
    Reason,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.model.namespaces import QueueKey
from airunner.model.protocol.features import ALL, Features
from airunner.model.reports import Output, Report
from airunner.model.spec import first_difference
from airunner.store.eviction import (
    evictable,
    make_artifact_room,
    make_job_room,
    make_outcome_room,
)
from airunner.store.report_intake import ReportRoom, check_countable, unseen
from airunner.store.retention import Retention
from airunner.store.table import Table


class Queue:
    """The verbs of jobs. Retention removes no job that is in `watched`."""

    def __init__(
        self, table: Table, retention: Retention, watched: Container[JobId] = frozenset()
    ) -> None:
        self._table = table
        self.retention = retention
        self._watched = watched

    # The interface of a machine

    def apply(self, event: Event) -> None:
        self._table.apply(event)

    def restore(self, event: Event) -> None:
        self._table.restore(event)

    def index(self) -> None:
        self._table.index()

    def check(self) -> None:
        self._table.check()

    def next_deadline(self) -> Instant | None:
        """The time of the next lapse, timeout or removal by retention; None: never."""
        soonest = self._table.deadlines.first()
        times = [] if soonest is None else [soonest[0]]
        if goes := self._next_to_go():
            times.append(goes[0])
        return Instant(min(times)) if times else None

    # Verbs: from a request to the facts that answer it

    def enqueue(self, id: JobId, request: JobRequest, now: Instant) -> Sequence[JobFact]:
        """Puts a job in line. No fact if its idempotency key already stands for the same job.

        Raises IdempotencyConflict if the key stands for a different job, LimitReached if there is no
        room.
        """
        if known := self._table.requested(request):
            difference = first_difference(known.spec, request.spec)
            if difference is None and known.retry_of != request.retry_of:
                difference = "retry_of"
            if difference:
                raise IdempotencyConflict(
                    f"request_id {request.request!r} was used for job {known.id}, "
                    f"which differs in {difference}: use another request_id for another job"
                )
            return ()
        assert self._table.find(id) is None
        enqueued = Enqueued(id, request.spec, request.request, request.submitter, request.retry_of)
        return (
            *make_job_room(self._table, self.retention, request.spec, now, self._watched),
            enqueued,
        )

    def lease(
        self,
        queues: Sequence[QueueKey],
        *,
        token: TokenDigest,
        worker: WorkerId,
        span: Millis,
        now: Instant,
        features: Features = ALL,
    ) -> Sequence[JobFact]:
        """Leases the job that has waited longest in the first queue that has a job.

        Jobs that need a feature which the worker has not are left to other workers.
        """
        for queue in queues:
            if (id := self._table.lines.first(queue, features)) is not None:
                lease = Lease(token=token, worker=worker, span=span, until=Instant(now + span))
                return (Leased(id, self._table.job(id).attempt + 1, lease),)
        return ()

    def renew(
        self,
        token: TokenDigest,
        *,
        span: Millis,
        now: Instant,
        queue: str | None = None,
        cancelling: bool = False,
    ) -> Sequence[JobFact]:
        """Extends a lease to `now` plus `span`. `cancelling` extends the lease of a cancelled job too.

        Raises StaleLease, CancelPending, and InvalidRequest if `queue` is not the job's queue.
        """
        job = self._table.held_by(token)
        assert job.lease
        if queue not in (None, job.spec.queue):
            raise InvalidRequest("queue", f"the job of this task token is in {job.spec.queue}")
        if job.cancel_requested_at is not None and not cancelling:
            raise CancelPending
        return (Renewed(job.id, replace(job.lease, span=span, until=Instant(now + span))),)

    def publish(
        self,
        token: TokenDigest,
        reports: Sequence[tuple[int, Report]],
        *,
        now: Instant,
        gaps: bool = False,
    ) -> Sequence[JobFact]:
        """Stores a worker's reports, each with the number of its first item, or 0 for no number.

        Reports that are stored already are left out. A missing number raises OutOfSequence unless
        `gaps`. A mark takes the place of output or of a report past a limit.
        """
        job = self._table.held_by(token)
        room = ReportRoom(job, self.retention)
        facts: list[JobFact] = []
        dropped: set[JobId] = set()
        free = self.retention.output_bytes_total - self._table.output_bytes
        for sent, report in unseen(reports, job.sent, gaps=gaps):
            if not isinstance(report, Output):
                facts.append(Reported(job.id, job.attempt, sent, room.take(report)))
                continue
            wanted, _ = room.fit(report)  # a job's own limit costs no other job its output
            free += self._make_room(wanted.size - free, now, dropped, facts)
            kept, cut = room.fit(report, free)
            room.store(kept, cut)
            free -= kept.size
            if kept.chunks:
                number = sent - cut.items if cut and sent else sent
                facts.append(Reported(job.id, job.attempt, number, kept))
            if cut:
                facts.append(Reported(job.id, job.attempt, sent, cut))
        check_countable(job, facts)
        return facts

    def make_artifact_room(
        self, token: TokenDigest, size: int, *, now: Instant
    ) -> Sequence[JobFact]:
        """Makes room for one more artifact of the current attempt, of `size` bytes.

        Artifacts of finished jobs are removed for it, the oldest first. Raises StaleLease,
        InvalidRequest, LimitReached.
        """
        return make_artifact_room(self._table, self.retention, token, size, now, self._watched)

    def store_artifact(
        self,
        token: TokenDigest,
        artifact: Artifact,
        *,
        now: Instant,
    ) -> Sequence[JobFact]:
        """Records an artifact of the current attempt; its bytes are stored already.

        Raises as make_artifact_room().
        """
        job = self._table.held_by(token)
        room = self.make_artifact_room(token, artifact.size, now=now)
        return (*room, ArtifactKept(job.id, job.attempt, artifact))

    def finish(
        self, token: TokenDigest, outcome: Outcome, *, sent: int | None = None, now: Instant = EPOCH
    ) -> Sequence[JobFact]:
        """Ends a job. `sent` is the number of its last report, which must be stored already.

        Large results of steps may evict jobs that ended before `now`. Without room they are left out.
        No fact if the same completion is recorded. Raises AlreadyFinished if the lease ended with
        another outcome, StaleLease if it ended in another way.
        """
        if over := self._ended(token, AttemptEnd.FINISHED):
            bare = replace(outcome, steps=())
            if over.outcome in (outcome, _cancelled(outcome), bare, _cancelled(bare)):
                return ()
            raise AlreadyFinished(f"job {over.id} has already ended otherwise: {over.state}")
        job = self._table.held_by(token)
        if sent is not None and sent != job.sent:
            raise OutOfSequence(job.sent + 1, sent + 1)
        if job.cancel_requested_at is not None:
            outcome = _cancelled(outcome)
        room = make_outcome_room(self._table, self.retention, outcome, now, self._watched)
        if room is None:
            room, outcome = (), replace(outcome, steps=())
        end = AttemptEnd.FINISHED
        return (*room, Finished(job.id, job.attempt, outcome.state, outcome, end, job.failures))

    def give_back(
        self,
        token: TokenDigest,
        ending: AttemptEnd = AttemptEnd.RELEASED,
        *,
        heard: bool = True,
        sent: int = 0,
    ) -> Sequence[JobFact]:
        """Returns a job to its old place in line. LOST counts as a failure, RELEASED does not.

        `heard` says that no report of the attempt can be missing. `sent` is the number of its last
        report, which must be stored already; 0 if the worker did not say.
        """
        assert ending in (AttemptEnd.RELEASED, AttemptEnd.LOST)
        if self._ended(token, ending):
            return ()
        job = self._table.held_by(token)
        if sent > job.sent:
            raise OutOfSequence(job.sent + 1, sent + 1)
        return self._end_attempt(job, ending, whole=heard and ending is AttemptEnd.RELEASED)

    def cancel(self, id: JobId, by: Subject) -> Sequence[JobFact]:
        """Requests the end of a job. No fact if a cancel was requested before."""
        job = self._table.job(id)
        if job.cancel_requested_at is not None or job.state is JobState.CANCELLED:
            return ()
        if job.state.final:
            raise AlreadyFinished(f"job {id} has already ended: {job.state}")
        if job.state is JobState.RUNNING:
            return (CancelRequested(id, job.attempt, by),)
        outcome = Outcome(reason=Reason.CANCELLED, error="cancelled in line")
        return (Finished(id, 0, JobState.CANCELLED, outcome, None, job.failures),)

    def resume(self, now: Instant) -> Sequence[JobFact]:
        """Gives every running lease its whole span anew, after a restart.

        The server cannot tell its own absence from the worker's. A longer lease is always safe.
        """
        leases = ((job.id, job.lease) for job in self._table.running() if job.lease)
        return [
            Renewed(id, replace(lease, until=Instant(now + lease.span))) for id, lease in leases
        ]

    def expire(self, now: Instant) -> Sequence[JobFact]:
        """The facts of the earliest passed deadline; the caller asks again until there are none."""
        soonest = self._table.deadlines.first()
        if soonest and soonest[0] <= now:
            job = self._table.job(soonest[1])
            if job.lease:
                return self._end_attempt(job, AttemptEnd.LAPSED)
            limit = job.spec.queue_timeout_seconds
            outcome = Outcome(
                reason=Reason.QUEUE_TIMEOUT, error=f"waited in line for longer than {limit} s"
            )
            return (Finished(job.id, 0, JobState.FAILED, outcome, None, job.failures),)
        goes = self._next_to_go()
        return (Forgotten(goes[1]),) if goes and goes[0] <= now else ()

    # How they decide

    def _ended(self, token: TokenDigest, ending: AttemptEnd) -> Job | None:
        """The job whose latest attempt had this token and ended in this way."""
        job = self._table.ended_by(token)
        if job and job.attempts[-1].token == token and job.attempts[-1].ending is ending:
            return job
        return None

    def _end_attempt(
        self, job: Job, ending: AttemptEnd, *, whole: bool = False
    ) -> Sequence[JobFact]:
        """Ends an attempt without a completion; `whole`: its log is complete."""
        often = job.attempt >= self.retention.leases_per_job
        failures = job.failures + (ending is not AttemptEnd.RELEASED or often)
        if job.cancel_requested_at is not None:
            outcome = Outcome(
                reason=Reason.CANCELLED,
                error="" if whole else f"the worker was lost ({ending})",
                log_complete=whole,
            )
            return (Finished(job.id, job.attempt, JobState.CANCELLED, outcome, ending, failures),)
        if failures < job.spec.attempts_max:
            return (Returned(job.id, job.attempt, ending, failures),)
        outcome = Outcome(
            reason=Reason.LOST,
            error=f"lost with its worker: failure {failures} of {job.spec.attempts_max}"
            if not often
            else f"leased {job.attempt:,} times without an end (LEASES_PER_JOB_MAX)",
            log_complete=False,
        )
        return (Finished(job.id, job.attempt, JobState.FAILED, outcome, ending, failures),)

    def _next_to_go(self) -> tuple[int, JobId] | None:
        """The next finished job that retention removes, after the time of its removal."""
        keep, crowded = self.retention, len(self._table.finished) > self.retention.finished_max
        age = keep.spared if crowded else max(keep.spared, keep.finished_age)
        for ended_at, id in self._table.finished:
            if id not in self._watched:
                return ended_at + age, id
        return None

    def _make_room(
        self,
        missing: int,
        now: Instant,
        dropped: set[JobId],
        facts: list[JobFact],
    ) -> int:
        """Drops output of finished jobs, the oldest first, until `missing` bytes are free."""
        freed = 0
        if missing > 0:
            for id in evictable(self._table.outputs, self.retention, now, self._watched):
                if freed >= missing:
                    break
                if id not in dropped:
                    dropped.add(id)
                    facts.append(OutputDropped(id))
                    freed += self._table.job(id).output_bytes
        return freed


def _cancelled(outcome: Outcome) -> Outcome:
    """The outcome of a cancelled job; the exit code of a command that ended by itself stays."""
    return replace(outcome, reason=Reason.CANCELLED)
