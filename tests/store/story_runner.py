"""Tells stories to the engine: one line in, what the engine answers out.

keep spared=600 age=3600 finished=2 jobs=3 job_bytes=9 total_bytes=99
     job_artifacts=9 total_artifacts=99 scripts=99   (first, if at all; in bytes)
enqueue KEY queue=default attempts=3 wait=0 bytes=0 command=true by=SUBJECT  KEY - is none
enqueue KEY script=BYTES                        a script of so many bytes, instead of a command
lease WORKER queues=a,b span=300 as=TOKEN       the token is the worker's name, unless as=
renew TOKEN | renew TOKEN cancelling
publish TOKEN 1:text+text 3:!started [gaps]     NUMBER:CHUNK+CHUNK or NUMBER:!started
artifact TOKEN PATH size=0
finish TOKEN exit=0 reason=exited last=3
release TOKEN | lost TOKEN | cancel JOB | watch JOB | leave JOB
wait SECONDS                                    deadlines pass one by one, each on time
restart                                         the log is replayed, and the server resumes
show JOB | line QUEUE
"""

from collections.abc import Callable, Sequence
from itertools import count

from airunner.model.artifacts import Artifact
from airunner.model.errors import Refused
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
    SubjectFact,
    sequence_count,
)
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobId,
    JobRequest,
    JobState,
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
from airunner.model.limits import ATTEMPTS_DEFAULT, OUTPUT_BYTES_DEFAULT
from airunner.model.namespaces import QueueKey
from airunner.model.reports import Chunk, Output, OutputCut, ProcessStarted, Remark, Report, Stream
from airunner.model.spec import JobSpec
from airunner.model.steps import StepStatus
from airunner.store.engine import Engine, replayed
from airunner.store.retention import Retention

Given = dict[str, str]
KEPT = {
    "jobs": "jobs_max",
    "finished": "finished_max",
    "age": "finished_age",
    "spared": "spared",
    "job_bytes": "output_bytes_per_job",
    "total_bytes": "output_bytes_total",
    "scripts": "spec_bytes_max",
    "reports": "reports_per_job",
    "leases": "leases_per_job",
    "artifacts": "artifacts_per_job",
    "job_artifacts": "artifact_bytes_per_job",
    "total_artifacts": "artifact_bytes_total",
}


class Teller:
    """Understands one line of a story at a time."""

    def __init__(self) -> None:
        self._retention = Retention()
        self._engine = Engine(self._retention)
        self._log: list[Event] = []
        self._now = Instant(0)
        self._jobs = count(1)
        self._verbs: dict[str, Callable[[list[str], Given], Sequence[JobFact]]] = {
            "enqueue": self._enqueue,
            "lease": self._lease,
            "renew": self._renew,
            "publish": self._publish,
            "artifact": self._artifact,
            "finish": self._finish,
            "release": lambda words, given: self._engine.queue.give_back(_token(words)),
            "lost": lambda words, given: self._engine.queue.give_back(
                _token(words), AttemptEnd.LOST
            ),
            "cancel": lambda words, given: self._engine.queue.cancel(
                JobId(words[0]), Subject("sue")
            ),
        }
        self._others: dict[str, Callable[[list[str], Given], list[str]]] = {
            "keep": self._keep,
            "watch": self._watch,
            "leave": self._leave,
            "wait": self._wait,
            "restart": self._restart,
            "show": self._show,
            "line": self._line,
        }

    def tell(self, line: str) -> list[str]:
        verb, *rest = line.split()
        given = dict(word.split("=", 1) for word in rest if "=" in word)
        words = [word for word in rest if "=" not in word]
        try:
            if verb in self._others:
                return self._others[verb](words, given)
            facts = self._verbs[verb](words, given)
        except Refused as refusal:
            return [f"refused, {type(refusal).__name__}: {refusal}"]
        return self._told(self._engine.record(facts, self._now)) or ["nothing"]

    def _told(self, events: Sequence[Event]) -> list[str]:
        self._log += events
        self._engine.check()
        return [shown(event) for event in events]

    # Verbs of the queue

    def _enqueue(self, words: list[str], given: Given) -> Sequence[JobFact]:
        spec = JobSpec(
            command="" if "script" in given else given.get("command", "true"),
            script="x" * int(given.get("script", 0)),
            queue=given.get("queue", "default"),
            attempts_max=int(given.get("attempts", ATTEMPTS_DEFAULT)),
            queue_timeout_seconds=int(given.get("wait", 0)),
            output_bytes_max=int(given.get("bytes", OUTPUT_BYTES_DEFAULT)),
        )
        request = RequestId("" if words[0] == "-" else words[0])
        retry_of = JobId(given["retry_of"]) if "retry_of" in given else None
        by = Subject(given.get("by", ""))
        wish = JobRequest(spec=spec, request=request, submitter=by, retry_of=retry_of)
        id = JobId(f"job-{next(self._jobs)}")
        return self._engine.queue.enqueue(id, wish, self._now)

    def _lease(self, words: list[str], given: Given) -> Sequence[JobFact]:
        return self._engine.queue.lease(
            [QueueKey(queue) for queue in given.get("queues", "default").split(",")],
            token=digest(TaskToken(given.get("as", words[0]))),
            worker=WorkerId(words[0]),
            span=Millis(int(given.get("span", 300)) * 1000),
            now=self._now,
        )

    def _renew(self, words: list[str], given: Given) -> Sequence[JobFact]:
        span = Millis(int(given.get("span", 300)) * 1000)
        cancelling = "cancelling" in words
        return self._engine.queue.renew(
            _token(words), span=span, now=self._now, cancelling=cancelling
        )

    def _publish(self, words: list[str], given: Given) -> Sequence[JobFact]:
        return self._engine.queue.publish(
            _token(words),
            [_report(word) for word in words[1:] if word != "gaps"],
            now=self._now,
            gaps="gaps" in words,
        )

    def _artifact(self, words: list[str], given: Given) -> Sequence[JobFact]:
        artifact = Artifact(path=words[1], size=int(given.get("size", 0)), sha256="0" * 64)
        token = _token(words)
        return self._engine.queue.store_artifact(token, artifact, now=self._now)

    def _finish(self, words: list[str], given: Given) -> Sequence[JobFact]:
        outcome = Outcome(
            reason=Reason(given.get("reason", "exited")),
            exit_code=int(given["exit"]) if "exit" in given else 0,
            steps=(StepResult(name="step", status=StepStatus.SUCCESS),)
            * int(given.get("steps", 0)),
        )
        sent = int(given["last"]) if "last" in given else None
        return self._engine.queue.finish(_token(words), outcome, sent=sent, now=self._now)

    # What is around the queue

    def _keep(self, words: list[str], given: Given) -> list[str]:
        times = ("age", "spared")
        values = {
            KEPT[name]: Millis(int(value) * (1000 if name in times else 1))
            for name, value in given.items()
        }
        self._retention = Retention(**values)
        self._engine = Engine(self._retention)
        return []

    def _watch(self, words: list[str], given: Given) -> list[str]:
        self._engine.watched[JobId(words[0])] += 1
        return []

    def _leave(self, words: list[str], given: Given) -> list[str]:
        del self._engine.watched[JobId(words[0])]
        return self._told(self._engine.settle(self._now)) or ["nothing"]

    def _wait(self, words: list[str], given: Given) -> list[str]:
        until, told = Instant(self._now + int(words[0]) * 1000), list[str]()
        while (due := self._engine.next_deadline()) is not None and due <= until:
            self._now = max(due, self._now)
            told += self._told(self._engine.settle(self._now))
        self._now = until
        return told or ["nothing"]

    def _restart(self, words: list[str], given: Given) -> list[str]:
        before = self._engine
        self._engine = replayed(self._log, self._retention)
        self._engine.watched.update(before.watched)
        assert list(self._engine.table.jobs()) == list(before.table.jobs())
        resumed = self._engine.queue.resume(self._now)
        events = self._engine.record(resumed, self._now) + self._engine.settle(self._now)
        return self._told(events) or ["nothing"]

    def _show(self, words: list[str], given: Given) -> list[str]:
        job = self._engine.table.job(JobId(words[0]))
        said = [f"{job.state}, attempt {job.attempt}, failures {job.failures}"]
        if job.state is JobState.SCHEDULED:
            said.append(f"{self._engine.table.lines.ahead(job)} ahead")
        if job.outcome:
            code = "no exit code" if job.outcome.exit_code is None else job.outcome.exit_code
            said.append(f"{job.outcome.reason}, {code}")
        if job.outcome and job.outcome.steps:
            said.append(f"{len(job.outcome.steps)} results of steps")
        if job.outcome and job.outcome.error:
            said.append(job.outcome.error)
        if job.output_bytes or job.output_bytes_cut:
            said.append(f"{job.output_bytes} bytes kept, {job.output_bytes_cut} cut")
        if job.artifacts:
            said.append(f"artifacts: {job.artifacts} of {job.artifact_bytes} bytes")
        past = [
            f"attempt {over.number} of {over.worker}: {over.ending} at {over.ended_at // 1000}s"
            for over in job.attempts
        ]
        return ["; ".join(said), *past]

    def _line(self, words: list[str], given: Given) -> list[str]:
        ids = self._engine.table.lines.newest(None, words[0], JobState.SCHEDULED)
        return [" ".join(reversed(list(ids))) or "nobody"]


def shown(event: Event) -> str:
    """An event as a story tells it: place, time, job, sequences, fact."""
    numbers = ""
    assert not isinstance(event.fact, SubjectFact)
    if sequence_count(event.fact):
        numbers = f" #{event.first}" + (f"-{event.last}" if event.last > event.first else "")
    return f"{event.place} at {event.at // 1000}s: {event.job}{numbers} {_said(event.fact)}"


def _said(fact: JobFact) -> str:
    match fact:
        case Enqueued():
            return "enqueued"
        case Leased(_, attempt, lease):
            return f"leased to {lease.worker}, attempt {attempt}, until {lease.until // 1000}s"
        case Renewed(_, lease):
            return f"renewed until {lease.until // 1000}s"
        case Returned(_, attempt, ending, failures):
            return f"returned, attempt {attempt} {ending}, failures {failures}"
        case CancelRequested(by=by):
            return f"cancel requested by {by}"
        case Finished(state=state, outcome=outcome):
            code = "" if outcome.exit_code is None else f" {outcome.exit_code}"
            return f"finished {state}: {outcome.reason}{code}"
        case _:
            return _left(fact)


def _left(fact: Reported | ReportTotals | ArtifactKept | RetentionFact) -> str:
    """What an attempt has left, or retention of it."""
    match fact:
        case Reported(_, _, sent, report):
            return f"reported up to {sent}: {_contents(report)}"
        case ReportTotals(_, sent):
            return f"tallied up to {sent}"
        case ArtifactKept(artifact=artifact):
            return f"kept {artifact.path}, {artifact.size} bytes"
        case OutputDropped():
            return "output dropped"
        case ArtifactsDropped():
            return "artifacts dropped"
        case Forgotten():
            return "forgotten"


def _contents(report: Report) -> str:
    match report:
        case Output(chunks):
            return " ".join(repr(chunk.data.decode()) for chunk in chunks)
        case OutputCut(items, size):
            return f"cut of {items} chunks, {size} bytes"
        case Remark(message):
            return f"remark '{message}'"
        case _:
            return type(report).__name__


def _token(words: list[str]) -> TokenDigest:
    return digest(TaskToken(words[0]))


def _report(word: str) -> tuple[int, Report]:
    number, text = word.split(":", 1)
    if text == "!started":
        return int(number), ProcessStarted(7, Instant(0))
    if text.startswith("!"):
        return int(number), Remark(text[1:])
    chunks = (Chunk(Stream.STDOUT, part.encode(), Instant(0)) for part in text.split("+"))
    return int(number), Output(tuple(chunks))
