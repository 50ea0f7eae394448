"""A random walk through the queue: everybody does everything, at the worst of times."""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256

from airunner.model.artifacts import Artifact
from airunner.model.errors import Refused
from airunner.model.facts import Event, JobFact
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobId,
    JobRequest,
    Millis,
    Outcome,
    Reason,
    RequestId,
    StepResult,
    Subject,
    TaskToken,
    TokenDigest,
    WorkerId,
    digest,
)
from airunner.model.namespaces import QueueKey
from airunner.model.protocol.features import ALL, NONE, Features
from airunner.model.reports import (
    Chunk,
    Output,
    OutputCut,
    ProcessStarted,
    Remark,
    Report,
    Stream,
    count_sequences,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import StepStatus
from airunner.store.engine import Engine
from airunner.store.retention import Retention
from tests.store.invariants import INVARIANTS, History

QUEUES = (QueueKey("fast"), QueueKey("slow"), QueueKey("slow", "other"))
KEEP = Retention(
    jobs_max=30,
    spec_bytes_max=5_000,
    finished_max=8,
    finished_age=Millis(10_000),
    spared=Millis(1_000),
    output_bytes_per_job=150,
    output_bytes_total=300,
    reports_per_job=6,
    leases_per_job=4,
    artifact_bytes_per_job=40,
    artifact_bytes_total=44,
)
OUTCOMES = (
    Outcome(reason=Reason.EXITED, exit_code=0),
    Outcome(reason=Reason.EXITED, exit_code=1),
    Outcome(reason=Reason.CANCELLED),
    Outcome(reason=Reason.TIMEOUT),
    Outcome(
        reason=Reason.EXITED,
        exit_code=0,
        steps=(StepResult(name="step", status=StepStatus.SUCCESS),) * 7,
    ),
)


class Walk:
    """An engine, its log, and an observer who checks every promise after every step."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.engine = Engine(KEEP)
        self.history = History()
        self.log: list[Event] = []
        self.now = Instant(1_000_000)
        self._tokens = [digest(TaskToken("nobody's"))]
        self._sent: dict[TokenDigest, int] = {}
        self._ids = [JobId("no job")]
        self._verbs: list[Callable[[], None]] = [
            *[self._enqueue] * 4,
            *[self._lease] * 4,
            self._renew,
            *[self._publish] * 6,
            *[self._keep] * 3,
            *[self._finish] * 2,
            self._give_back,
            *[self._cancel] * 2,
            *[self._watch] * 2,
        ]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.now = Instant(self.now + self.dice.choice([0, 0, 0, 1, 10, 100, 600]))
            if self.dice.random() < 0.8:  # the timer is late now and then
                self.note(self.engine.settle(self.now))
            with suppress(Refused):
                self.dice.choice(self._verbs)()

    def note(
        self, events: Sequence[Event], asked: Sequence[QueueKey] = (), features: Features = ALL
    ) -> None:
        """Remember what has happened, and hold it against every promise."""
        self.log += events
        if not events:
            return
        self.engine.check()
        for event in events:
            self.history.note(
                event,
                watched=self.engine.watched,
                spared=KEEP.spared,
                asked=asked,
                features=features,
            )
        for id in {event.job for event in events}:
            for invariant in INVARIANTS:
                invariant(self.history, self.engine, id)

    # The verbs

    def _record(
        self, facts: Sequence[JobFact], asked: Sequence[QueueKey] = (), features: Features = ALL
    ) -> None:
        self.note(self.engine.record(facts, self.now), asked, features)

    def _say(self, token: TokenDigest, facts: Sequence[JobFact], *, gaps: bool = False) -> None:
        self.history.spoke(token, facts, gaps=gaps)
        self._record(facts)

    def _token(self) -> TokenDigest:
        """Mostly one that speaks for a lease, else any that ever was."""
        current = [job.lease.token for job in self.engine.table.running() if job.lease]
        return self.dice.choice(current if current and self.dice.random() < 0.8 else self._tokens)

    def _enqueue(self) -> None:
        key = self.dice.choice(["", f"key {self.dice.randrange(len(self._ids))}"])
        command = self.dice.choice(["one", "one", "other"]) if key else "any"
        size = 0 if key else self.dice.choice([0, 0, 0, 250, 1_500])
        queue = self.dice.choice(QUEUES)
        spec = JobSpec(
            command="" if size else command,
            script="x" * size,
            queue=queue.name,
            namespace=queue.namespace,
            attempts_max=self.dice.choice([1, 2, 2, 3]),
            queue_timeout_seconds=self.dice.choice([0, 0, 5]),
            output_bytes_max=self.dice.choice([40, 10_000]),
            artifacts_on_cancel=not key and self.dice.random() < 0.3,  # needs a feature
        )
        self._ids.append(JobId(f"job {len(self._ids)}"))
        wish = JobRequest(spec=spec, request=RequestId(key))
        self._record(self.engine.queue.enqueue(self._ids[-1], wish, self.now))

    def _lease(self) -> None:
        token = digest(TaskToken(f"token {len(self._tokens)}"))
        queues = self.dice.sample(QUEUES, self.dice.choice([1, 2]))
        features = self.dice.choice([ALL, ALL, NONE])
        facts = self.engine.queue.lease(
            queues,
            token=token,
            worker=WorkerId(self.dice.choice("abc")),
            span=Millis(self.dice.choice([900, 5_000, 20_000])),
            now=self.now,
            features=features,
        )
        self._tokens.append(token)
        self._record(facts, queues, features)

    def _renew(self) -> None:
        token, cancelling = self._token(), self.dice.random() < 0.5
        queue, span = self.engine.queue, Millis(900)
        self._say(token, queue.renew(token, span=span, now=self.now, cancelling=cancelling))

    def _publish(self) -> None:
        token, gaps = self._token(), self.dice.random() < 0.1
        sent = self._sent.get(token, 0)
        first = max(1, sent + 1 - self.dice.choice([0, 0, 0, 1, 3, 50, -1]))
        reports, number = list[tuple[int, Report]](), first
        for _ in range(self.dice.randrange(4)):
            report = self._report(number)
            reports.append((number, report))
            number += count_sequences(report)
        facts = self.engine.queue.publish(token, reports, now=self.now, gaps=gaps)
        self._say(token, facts, gaps=gaps)
        self._sent[token] = max(sent, number - 1)

    def _report(self, number: int) -> Report:
        match self.dice.randrange(9):
            case 0:
                return ProcessStarted(1, self.now)
            case 1:
                return OutputCut(2, 5)
            case 2:
                return Remark("slow")
            case _:
                numbers = range(number, number + self.dice.choice([1, 1, 2, 5]))
                data = (b"%d;" % n + b"x" * self.dice.randrange(20) for n in numbers)
                return Output(tuple(Chunk(Stream.STDOUT, each, self.now) for each in data))

    def _keep(self) -> None:
        """Ask for room first, as whoever takes in bytes does, and perhaps never bring them."""
        token, size, queue = self._token(), self.dice.choice([0, 5, 12, 41]), self.engine.queue
        if self.dice.random() < 0.5:
            room = queue.make_artifact_room(token, size, now=self.now)
            self._say(token, room)
            self.now = Instant(self.now + self.dice.choice([0, 0, 100]))
        zeros = sha256(bytes(size)).hexdigest()  # so that anybody can make the file
        artifact = Artifact(path=f"a/{self.dice.randrange(9)}", size=size, sha256=zeros)
        self._say(token, queue.store_artifact(token, artifact, now=self.now))

    def _finish(self) -> None:
        token = self._token()
        sent = self.dice.choice([None, self._sent.get(token, 0), 1])
        outcome = self.dice.choice(OUTCOMES)
        self._say(token, self.engine.queue.finish(token, outcome, sent=sent, now=self.now))

    def _give_back(self) -> None:
        token, ending = self._token(), self.dice.choice([AttemptEnd.RELEASED, AttemptEnd.LOST])
        self._say(token, self.engine.queue.give_back(token, ending))

    def _cancel(self) -> None:
        running = [job.id for job in self.engine.table.running()]
        id = self.dice.choice(running if running and self.dice.random() < 0.5 else self._ids[-10:])
        self._record(self.engine.queue.cancel(id, Subject("sue")))

    def _watch(self) -> None:
        watched = self.engine.watched
        if watched and self.dice.random() < 0.5:
            del watched[self.dice.choice(sorted(watched))]
        else:
            watched[self.dice.choice(self._ids[-20:])] = 1


def survivor(walk: Walk, length: int) -> Walk:
    """What a server is after a crash that left so much of the log, resumed and ready."""
    left = Walk(random.Random(0))
    left.now = walk.now
    left.history.loose = walk.history.loose
    for event in walk.log[:length]:
        left.engine.restore(event)
        left.history.note(event)
    left.engine.index()
    left.engine.check()
    resumed = left.engine.record(left.engine.queue.resume(left.now), left.now)
    left.note([*resumed, *left.engine.settle(left.now)])
    return left


def drain(walk: Walk) -> None:
    """Work until every job has ended; an AssertionError if that cannot be reached."""
    engine, patience = walk.engine, 10 * len(walk.engine.table) + 10
    for n in range(patience):
        if all(job.state.final for job in engine.table.jobs()):
            return
        token = digest(TaskToken(f"last {n}"))
        facts = engine.queue.lease(
            QUEUES, token=token, worker=WorkerId("z"), span=Millis(900), now=walk.now
        )
        if facts:
            walk.note(engine.record(facts, walk.now), QUEUES)
            done = engine.queue.finish(token, OUTCOMES[0])
            walk.history.spoke(token, done)
            walk.note(engine.record(done, walk.now))
        else:
            due = engine.next_deadline()
            assert due is not None, "a job runs, and nothing will ever end it"
            walk.now = max(walk.now, due)
            walk.note(engine.settle(walk.now))
    raise AssertionError("work without end")
