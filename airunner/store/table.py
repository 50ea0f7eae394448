"""The jobs, and every index over them.

One function takes a job out of all indexes and one puts it in; apply() is the only caller of both.
check() proves that every index follows from the jobs. A replay therefore needs no index: restore()
sets the jobs, and index() builds all indexes at the end.
"""

from collections.abc import Iterator

from sortedcontainers import SortedList

from airunner.model.errors import StaleLease, UnknownJob
from airunner.model.facts import (
    ArtifactKept,
    Enqueued,
    Event,
    Finished,
    Forgotten,
    Renewed,
    Reported,
    ReportTotals,
    SubjectFact,
)
from airunner.model.jobs import (
    Instant,
    Job,
    JobId,
    JobRequest,
    JobState,
    RequestId,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.store.deadlines import Deadlines
from airunner.store.job_index import JobIndex
from airunner.store.transitions import apply_fact, new_job


class Table:
    """The present state of all jobs. It decides nothing."""

    def __init__(self) -> None:
        self._jobs: dict[JobId, Job] = {}
        # All other fields are indexes.
        self._requests: dict[tuple[str, Subject, RequestId], JobId] = {}  # see _request_key()
        self._tokens: dict[TokenDigest, JobId] = {}  # of running leases
        self._ended: dict[TokenDigest, JobId] = {}  # of ended leases
        self._holders: dict[WorkerId, dict[JobId, None]] = {}
        self.lines = JobIndex()
        self.deadlines: Deadlines[JobId] = Deadlines()  # leases that lapse, waits that time out
        self.finished: SortedList[tuple[Instant, JobId]] = SortedList()
        self.outputs: SortedList[tuple[Instant, JobId]] = SortedList()  # finished, with output
        self.output_bytes = 0  # kept, of all jobs
        self.artifact_owners: SortedList[tuple[Instant, JobId]] = (
            SortedList()
        )  # finished, with artifacts
        self.artifact_bytes = 0  # kept, of all jobs
        self.bulky: SortedList[tuple[Instant, JobId]] = SortedList()  # finished, with bulk_bytes
        self.bulk_bytes = 0  # of all jobs
        self._indexed = True

    # Questions

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def leases(self) -> int:
        """The number of running leases."""
        return len(self._tokens)

    def find(self, id: JobId) -> Job | None:
        return self._jobs.get(id)

    def job(self, id: JobId) -> Job:
        if id not in self._jobs:
            raise UnknownJob(id)
        return self._jobs[id]

    def requested(self, request: JobRequest) -> Job | None:
        """The job that the request's idempotency key stands for; None if it has no key.

        A submitter's keys are the submitter's own: no request hits the job of another, or learns
        from a conflict that it exists.
        """
        if not request.request:
            return None
        key = (request.spec.namespace, request.submitter, request.request)
        id = self._requests.get(key)
        return None if id is None else self._jobs[id]

    def is_held(self, token: TokenDigest) -> bool:
        """True if a running lease has this token."""
        return token in self._tokens

    def held_by(self, token: TokenDigest) -> Job:
        if token not in self._tokens:
            raise StaleLease
        return self._jobs[self._tokens[token]]

    def ended_by(self, token: TokenDigest) -> Job | None:
        """The job that had a past attempt with this token."""
        id = self._ended.get(token)
        return None if id is None else self._jobs[id]

    def running(self) -> Iterator[Job]:
        return (self._jobs[id] for id in self._tokens.values())

    def leased_to(self, worker: WorkerId) -> list[Job]:
        return [self._jobs[id] for id in self._holders.get(worker, ())]

    def jobs(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    # The only way in

    def apply(self, event: Event) -> None:
        """Makes a fact true, and moves the job in every index that the fact concerns."""
        assert self._indexed
        match event.fact:
            case Enqueued() as fact:
                self._put(new_job(fact, event))
                self.bulk_bytes += fact.spec.spec_bytes
            case Forgotten(id):
                self.bulk_bytes -= self._take(id).bulk_bytes
                del self._jobs[id]
            case Reported() | ReportTotals() as fact:  # frequent, and in no index
                job = self._jobs[fact.id]
                self._jobs[job.id] = changed = apply_fact(job, fact, event)
                self.output_bytes += changed.output_bytes - job.output_bytes
            case Renewed() as fact:
                job = apply_fact(self._jobs[fact.id], fact, event)
                self._jobs[job.id] = job
                self.deadlines.put(job.id, fact.lease.until)
            case ArtifactKept(id, _, artifact) as fact:  # in no index either
                self._jobs[id] = apply_fact(self._jobs[id], fact, event)
                self.artifact_bytes += artifact.size
            case Finished() as fact:
                self._put(apply_fact(self._take(fact.id), fact, event))
                self.bulk_bytes += fact.outcome.steps_bytes
            case SubjectFact():
                raise AssertionError("a table holds jobs alone")
            case fact:
                self._put(apply_fact(self._take(fact.id), fact, event))

    def restore(self, event: Event) -> None:
        """Makes a fact true again. The table has no indexes until index().

        A log that has removed the events of a job may still have the fact that it was forgotten.
        """
        self._indexed = False
        match event.fact:
            case Enqueued() as fact:
                self._jobs[fact.id] = new_job(fact, event)
            case Forgotten(id):
                self._jobs.pop(id, None)
            case SubjectFact():
                raise AssertionError("a table holds jobs alone")
            case fact:
                self._jobs[fact.id] = apply_fact(self._jobs[fact.id], fact, event)

    def index(self) -> None:
        """Builds every index anew, after the last restore()."""
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            self._put(job)
            self.bulk_bytes += job.bulk_bytes
        self._indexed = True

    def _take(self, id: JobId) -> Job:
        """Takes a job out of every index that holds it."""
        job = self._jobs[id]
        self._requests.pop(_request_key(job), None)
        self.lines.drop(job)
        self.deadlines.drop(id)
        if job.lease:
            del self._tokens[job.lease.token]
            holder = self._holders[job.lease.worker]
            del holder[id]
            if not holder:
                del self._holders[job.lease.worker]
        for attempt in job.attempts:
            del self._ended[attempt.token]
        if job.finished_at is not None:
            self.finished.remove((job.finished_at, id))
            self.outputs.discard((job.finished_at, id))
            if job.bulk_bytes:
                self.bulky.remove((job.finished_at, id))
        self.output_bytes -= job.output_bytes
        if job.artifacts:
            self.artifact_bytes -= job.artifact_bytes
            if job.finished_at is not None:
                self.artifact_owners.remove((job.finished_at, id))
        return job

    def _put(self, job: Job) -> None:
        """Puts a job into every index that its state calls for."""
        self._jobs[job.id] = job
        if job.request:
            self._requests[_request_key(job)] = job.id
        self.lines.add(job)
        if (deadline := _deadline(job)) is not None:
            self.deadlines.put(job.id, deadline)
        if job.lease:
            self._tokens[job.lease.token] = job.id
            self._holders.setdefault(job.lease.worker, {})[job.id] = None
        for attempt in job.attempts:
            self._ended[attempt.token] = job.id
        if job.finished_at is not None:
            self.finished.add((job.finished_at, job.id))
            if job.output_bytes:
                self.outputs.add((job.finished_at, job.id))
            if job.bulk_bytes:
                self.bulky.add((job.finished_at, job.id))
        self.output_bytes += job.output_bytes
        if job.artifacts:
            self.artifact_bytes += job.artifact_bytes
            if job.finished_at is not None:
                self.artifact_owners.add((job.finished_at, job.id))

    # Invariants

    def check(self) -> None:
        """Asserts that every index agrees with the jobs, and each job with itself."""
        jobs = self._jobs.values()
        for job in jobs:
            running, final = job.state is JobState.RUNNING, job.state.final
            assert (job.lease is not None) == (job.leased_at is not None) == running
            assert (job.outcome is not None) == (job.finished_at is not None) == final
            assert (job.queued_at is not None) == (job.state is JobState.SCHEDULED)
            assert self.deadlines.key(job.id) == _deadline(job)
            assert job.failures <= min(job.attempt, job.spec.attempts_max)
            assert job.cancel_requested_at is None or job.state in (
                JobState.RUNNING,
                JobState.CANCELLED,
            )
            assert job.attempt == (job.attempts[-1].number if job.attempts else 0) + running
            assert job in self.lines
        leases = {job.lease.token: job.id for job in jobs if job.lease}
        assert leases == self._tokens
        assert {a.token: job.id for job in jobs for a in job.attempts} == self._ended
        held = {(worker, id) for worker, ids in self._holders.items() for id in ids}
        assert held == {(job.lease.worker, job.id) for job in jobs if job.lease}
        assert {_request_key(job): job.id for job in jobs if job.request} == self._requests
        ends = [(job.finished_at, job.id) for job in jobs if job.finished_at is not None]
        assert sorted(ends) == list(self.finished)
        assert [end for end in sorted(ends) if self._jobs[end[1]].output_bytes] == list(
            self.outputs
        )
        assert [end for end in sorted(ends) if self._jobs[end[1]].artifacts] == list(
            self.artifact_owners
        )
        bulky = [end for end in sorted(ends) if self._jobs[end[1]].bulk_bytes]
        assert bulky == list(self.bulky)
        assert sum(job.bulk_bytes for job in jobs) == self.bulk_bytes
        assert self.lines.total() == len(jobs)
        self.lines.check()
        assert sum(job.output_bytes for job in jobs) == self.output_bytes
        assert sum(job.artifact_bytes for job in jobs) == self.artifact_bytes


def _request_key(job: Job) -> tuple[str, Subject, RequestId]:
    return job.spec.namespace, job.submitter, job.request


def _deadline(job: Job) -> Instant | None:
    """The time at which a lapse or a timeout ends the state of the job; None: never."""
    if job.lease:
        return job.lease.until
    if job.queued_at is not None and job.spec.queue_timeout_seconds:
        return Instant(job.queued_at - job.waited + job.spec.queue_timeout_seconds * 1000)
    return None
