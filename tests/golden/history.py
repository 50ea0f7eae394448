"""History of the golden log: 390 jobs that between them have every kind of fact.

The core alone records it, with a clock that begins in the year 2100. A server's clock begins no
sooner than its log's last event, so nothing in the golden log ever expires by the date of a test run.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import product
from random import Random

from msgspec import structs

from airunner.artifacts import Artifact
from airunner.facts import Event, Fact
from airunner.jobs import (
    Ending,
    Enqueue,
    Instant,
    JobId,
    Millis,
    Outcome,
    Reason,
    RequestId,
    Subject,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.limits import VISIBILITY_SECONDS_MAX
from airunner.reports import (
    Chunk,
    Output,
    OutputCut,
    ProcessFailed,
    ProcessStarted,
    Remark,
    Report,
    StepStarted,
    Stream,
    width,
)
from airunner.retention import ON_DISK
from airunner.spec import JobSpec
from airunner.steps import Step
from airunner.store.engine import Engine
from tests.golden.reports import every_report, outcomes
from tests.golden.specs import CSI, ODD, ODD_TEXT, QUEUES, RUNS

BEGIN = Instant(4_102_444_800_000)  # 2100-01-01
MINUTE = Millis(60_000)
HELD_SPAN = Millis(VISIBILITY_SECONDS_MAX * 1_000)

Bytes = dict[tuple[JobId, int], dict[str, bytes]]  # artifacts by attempt, by digest


class History:
    """An engine, its recorded events, and the bytes of artifacts."""

    def __init__(self) -> None:
        self.dice = Random(20)
        self.engine = Engine(ON_DISK)
        self.now = BEGIN
        self.events: list[Event] = []
        self.bytes: Bytes = {}
        self.tokens: dict[JobId, TaskToken] = {}  # of the newest lease
        self._sent: dict[TaskToken, int] = {}
        self._count = 0

    def wait(self, seconds: float) -> None:
        """Let time pass, and record the deadlines that pass meanwhile."""
        until = Instant(self.now + round(seconds * 1_000))
        while (due := self.engine.next_deadline()) is not None and due <= until:
            self.now = max(due, self.now)
            self.events += self.engine.settle(self.now)
        self.now = until

    def enqueue(
        self, spec: JobSpec, request: str = "", by: str = "ann", retry_of: JobId | None = None
    ) -> JobId:
        self._count += 1
        low = self.dice.getrandbits(62) | 1 << 63
        text = f"{self.now:012x}7{self._count:03x}{low:016x}"
        id = JobId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
        wish = Enqueue(
            spec=spec, request=RequestId(request), submitter=Subject(by), retry_of=retry_of
        )
        self._record(self.engine.queue.enqueue(id, wish, self.now))
        return id

    def lease(self, queue: str, *, worker: str = "box.one", span: Millis = MINUTE) -> TaskToken:
        token = TaskToken(f"golden-{self.dice.getrandbits(96):024x}")
        facts = self.engine.queue.lease(
            [queue], token=digest(token), worker=WorkerId(worker), span=span, now=self.now
        )
        self._record(facts)
        self.tokens[facts[0].id] = token
        return token

    def begin(
        self, spec: JobSpec, *, worker: str = "box.one", span: Millis = MINUTE
    ) -> tuple[JobId, TaskToken]:
        """Enqueue a job in an empty queue and lease it."""
        id = self.enqueue(spec)
        return id, self.lease(spec.queue, worker=worker, span=span)

    def renew(self, token: TaskToken, span: Millis = MINUTE) -> None:
        self._record(
            self.engine.queue.renew(digest(token), span=span, now=self.now, cancelling=True)
        )

    def say(self, token: TaskToken, *reports: Report, numbered: bool = True, gap: int = 0) -> None:
        numbers, number = list[tuple[int, Report]](), self._sent.get(token, 0) + 1 + gap
        for report in reports:
            numbers.append((number if numbered else 0, report))
            number += width(report)
        self._record(self.engine.queue.publish(digest(token), numbers, now=self.now, gaps=True))
        self._sent[token] = number - 1

    def output(self, *texts: str | bytes, stream: Stream = Stream.STDOUT) -> Output:
        data = (text.encode() if isinstance(text, str) else text for text in texts)
        return Output(tuple(Chunk(stream, each, Instant(self.now - 3)) for each in data))

    def keep(self, id: JobId, path: str, data: bytes, *, executable: bool = False) -> None:
        token, name = self.tokens[id], sha256(data).hexdigest()
        artifact = Artifact(path=path, size=len(data), sha256=name, executable=executable)
        self._record(self.engine.queue.keep(digest(token), artifact, now=self.now))
        attempt = self.engine.table.job(id).attempt
        self.bytes.setdefault((id, attempt), {})[name] = data

    def finish(self, token: TaskToken, outcome: Outcome | None = None) -> None:
        outcome = outcome or Outcome(reason=Reason.EXITED, exit_code=0)
        self._record(self.engine.queue.finish(digest(token), outcome))

    def give_back(self, token: TaskToken, ending: Ending = Ending.RELEASED) -> None:
        self._record(self.engine.queue.give_back(digest(token), ending))

    def cancel(self, id: JobId) -> None:
        self._record(self.engine.queue.cancel(id, Subject(f"sue {CSI}")))

    def _record(self, facts: Sequence[Fact]) -> None:
        self.events += self.engine.record(facts, self.now)
        self.now = Instant(self.now + self.dice.choice((0, 1, 7, 250)))


def tell(h: History) -> None:
    """Record the whole history."""
    _retention(h)
    _ends(h)
    _attempts(h)
    _cancels(h)
    _reports(h)
    _artifacts(h)
    _crowd(h)
    _odd(h)
    _waiting(h)
    _held(h)


def _retention(h: History) -> None:
    """Retention: jobs lose their output, their artifacts, or are forgotten."""
    old = list[JobId]()
    for number in range(12):
        id, token = h.begin(JobSpec(command="old", queue="old"))
        h.say(token, ProcessStarted(number, h.now), h.output("old output\n" * 40, b"\xff" * 60))
        h.keep(id, "old", b"old artifact" * 10)
        h.say(token, h.output("more\n"), OutputCut(2, 9))
        h.finish(token)
        old.append(id)
    h.wait(601)
    roomy = h.engine.queue.retention
    h.engine.queue.retention = replace(roomy, finished_max=9)
    h.wait(0)  # Forgotten
    id, token = h.begin(JobSpec(command="young", queue="old"))
    used = h.engine.table.output_bytes
    h.engine.queue.retention = replace(roomy, output_bytes_total=used - 1_400)
    h.say(token, h.output("makes room"))  # OutputDropped
    used = h.engine.table.artifact_bytes
    h.engine.queue.retention = replace(roomy, artifact_bytes_total=used - 600)
    h.keep(id, "young", b"makes room")  # ArtifactsDropped
    h.finish(token)
    h.engine.queue.retention = roomy
    assert len(h.engine.table) == 10


def _ends(h: History) -> None:
    """Every outcome, each of a job with a live idempotency key."""
    for number, outcome in enumerate(outcomes(h.now)):
        id = h.enqueue(JobSpec(command="ends", queue="ends"), f"ends {number}")
        token = h.lease("ends")
        h.say(token, ProcessStarted(number, h.now), h.output(f"end {number}\n"))
        h.finish(token, outcome)
        if number % 5 == 0:
            h.enqueue(JobSpec(command="ends", queue="ends"), f"again {number}", "bob", id)
            h.finish(h.lease("ends"))


def _attempts(h: History) -> None:
    """Attempts that are given back, lost or lapsed, twice in a row and 40 times."""
    for endings in product(("released", "lost", "lapsed"), repeat=2):
        spec = JobSpec(command="tries", queue="tries", attempts_max=2)
        id, token = h.begin(spec, span=Millis(1_000))
        for ending in endings:
            h.say(token, ProcessStarted(1, h.now), h.output(f"{ending}\n"))
            h.renew(token, Millis(1_500))
            if ending == "lapsed":
                h.wait(2)
            else:
                h.give_back(token, Ending(ending))
            if not h.engine.table.job(id).state.final:
                token = h.lease("tries", worker="box.two")
        if not h.engine.table.job(id).state.final:
            h.say(token, h.output("gap"), gap=5)
            h.finish(token)
    id, token = h.begin(JobSpec(command="tries", queue="tries", attempts_max=100))
    for number in range(40):  # more attempts than a job's history keeps
        h.give_back(token, (Ending.RELEASED, Ending.LOST)[number % 2])
        token = h.lease("tries", worker=f"box.{number}")
    h.finish(token)


def _cancels(h: History) -> None:
    """Cancelled in line, and while running: finished, released, lost, lapsed."""
    h.cancel(h.enqueue(JobSpec(command="cancel", queue="cancel"), "cancelled in line"))
    for end in ("finished", "released", "lost", "lapsed", "renewed"):
        id, token = h.begin(JobSpec(command="cancel", queue="cancel"), span=Millis(5_000))
        h.say(token, h.output("before\n"))
        h.cancel(id)
        h.say(token, h.output("after\n", stream=Stream.STDERR))
        match end:
            case "finished":
                h.finish(token)
            case "renewed":
                h.renew(token)
                h.finish(token, Outcome(reason=Reason.SIGNALED, exit_code=143, signal=15))
            case "lapsed":
                h.wait(6)
            case ending:
                h.give_back(token, Ending(ending))
    late = JobSpec(command="late", queue="late", queue_timeout_seconds=5)
    h.enqueue(late, "late")
    h.wait(6)
    _, token = h.begin(late)
    h.wait(3)
    h.give_back(token)
    h.wait(6)  # QUEUE_TIMEOUT counts the time in line before the lease


def _reports(h: History) -> None:
    """Every report, with and without numbers, and output beyond the limit of its job."""
    for numbered in (True, False):
        id, token = h.begin(JobSpec(command="says", queue="says"))
        h.say(token, *every_report(h.now), numbered=numbered)
        h.give_back(token)
        token = h.lease("says")
        for report in every_report(h.now):
            h.say(token, report, numbered=numbered)
        h.keep(id, "said", b"between reports")
        h.say(token, h.output("x" * 65_536, "y" * 65_536, ""))
        h.finish(token)
    for kept in (1, 10, 100):
        _, token = h.begin(JobSpec(command="says", queue="says", output_bytes_max=kept))
        for number in range(5):
            h.say(token, h.output("first\n", "second\n", "third " * 30), Remark(f"{number}"))
        h.finish(token)


def _artifacts(h: History) -> None:
    """Artifacts with odd names, twice under one name, and of an attempt that is over."""
    paths = (
        "a",
        "b\u00fcild/out put",
        CSI,
        "\n",
        "-x",
        ".hidden/..x",
        "x" * 200 + "/" + "y" * 3_895,
    )
    for number in range(4):
        id, token = h.begin(JobSpec(script="make\n", queue="makes", artifacts=("*",)))
        h.keep(id, "first attempt", b"gone")
        h.say(token, h.output("first\n"))
        h.give_back(token)
        token = h.lease("makes")
        for path in paths:
            h.keep(id, path, f"{path} {number}".encode() * number, executable=number == 2)
        h.keep(id, "a", b"newer")
        h.keep(id, "same bytes as a", b"newer")
        h.keep(id, "large", b"large\n" * 60_000)
        h.finish(token, Outcome(reason=Reason.EXITED, exit_code=number))


def _crowd(h: History) -> None:
    """Many plain jobs, several of them at a time."""
    dice = h.dice
    for _ in range(16):
        ids = [h.enqueue(JobSpec(command="plain", queue="crowd")) for _ in range(8)]
        tokens = [h.lease("crowd", worker=f"box.{number}") for number in range(8)]
        for _ in range(24):
            token = dice.choice(tokens)
            lines = (f"line {dice.getrandbits(20)}\n" for _ in range(dice.randrange(1, 6)))
            h.say(token, h.output(*lines, stream=dice.choice(tuple(Stream))))
        assert [h.tokens[id] for id in ids] == tokens
        dice.shuffle(tokens)
        for token in tokens:
            code = dice.choice((0, 0, 0, 1))
            h.finish(token, Outcome(reason=Reason.EXITED, exit_code=code, ended_at=h.now))


def _odd(h: History) -> None:
    """Every odd spec twice: in a finished job, and in a job of the queue `odd`."""
    for number, spec in enumerate(ODD):
        request = f"odd {number}" if number else ODD_TEXT + "r" * 200
        h.enqueue(structs.replace(spec, queue="ended"), request, by=ODD_TEXT)
        token = h.lease("ended", worker=f"box {ODD_TEXT}")
        h.say(token, ProcessFailed("never ran"))
        h.finish(token, Outcome(reason=Reason.SETUP_FAILED, error="never ran"))
    for number, spec in enumerate(ODD):
        h.enqueue(structs.replace(spec, queue="odd"), f"waiting odd {number}", by=f"bob {number}")


def _waiting(h: History) -> None:
    """Queued jobs: odd queue names, queue timeouts, returned jobs, and jobs for a worker."""
    for queue in QUEUES:
        for number in range(3):
            h.enqueue(JobSpec(command="true", queue=queue), f"{queue} {number}"[-200:])
    for seconds in (6 * 3_600, 30 * 24 * 3_600):
        h.enqueue(JobSpec(command="true", queue="patient", queue_timeout_seconds=seconds))
    for spec in RUNS:
        h.enqueue(structs.replace(spec, queue="runs"))
    for ending in (Ending.RELEASED, Ending.LOST):
        _, token = h.begin(JobSpec(steps=(Step(run="echo again"),), queue="returned"))
        h.say(token, StepStarted(0, "echo again"), h.output("first attempt\n"))
        h.give_back(token, ending)


def _held(h: History) -> None:
    """Running jobs whose leases workers of the published contract hold."""
    for number in range(8):
        spec = JobSpec(command="held", queue="held", artifacts=("*",) if number > 5 else ())
        id, token = h.begin(spec, worker=f"held/{number:08x}", span=HELD_SPAN)
        if number:
            h.say(token, ProcessStarted(number, h.now), h.output("so far\n", "and on\n"))
        if number == 2:
            h.cancel(id)
        if number == 3:
            h.renew(token, HELD_SPAN)
        if number > 5:
            h.keep(id, "kept", b"kept so far")
