"""What an artifact is, and the rules by which its bytes are given room."""

import pytest

from airunner.model import limits
from airunner.model.artifacts import Artifact
from airunner.model.errors import InvalidRequest, LimitReached, StaleLease
from airunner.model.facts import ArtifactKept, ArtifactsDropped
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobId,
    JobRequest,
    Millis,
    Outcome,
    Reason,
    TaskToken,
    TokenDigest,
    WorkerId,
    digest,
)
from airunner.model.namespaces import QueueKey
from airunner.model.spec import JobSpec
from airunner.store.engine import Engine
from airunner.store.retention import Retention
from tests.promises import holds

NONE = "0" * 64
DONE = Outcome(reason=Reason.EXITED, exit_code=0)
KEEP = Retention(spared=Millis(1_000), artifact_bytes_per_job=6, artifact_bytes_total=10)


@pytest.mark.parametrize("path", ["a", "a/b.c", "..a/b..", "\u00e9", " ", "-", "a\nb"])
def test_what_may_be_called_an_artifact(path: str) -> None:
    assert Artifact(path=path, size=0, sha256=NONE).path == path


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", ".", "./a", "a/.", "..", "a/../b", "a\0b", "\udce9"]
)
def test_what_may_not(path: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^path: "):
        Artifact(path=path, size=0, sha256=NONE)


def test_a_path_keeps_to_its_limit_in_bytes() -> None:
    Artifact(path="\u00e9" * 2048, size=0, sha256=NONE)
    with pytest.raises(InvalidRequest, match="ARTIFACT_PATH_BYTES_MAX"):
        Artifact(path="\u00e9" * 2049, size=0, sha256=NONE)


def test_a_size_is_what_every_client_can_count() -> None:
    Artifact(path="a", size=limits.COUNT_MAX, sha256=NONE)
    for size in (-1, limits.COUNT_MAX + 1):
        with pytest.raises(InvalidRequest, match=r"^size: "):
            Artifact(path="a", size=size, sha256=NONE)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", "x" * 64])
def test_a_digest_is_64_lower_case_hexadecimal_digits(sha256: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^sha256: "):
        Artifact(path="a", size=0, sha256=sha256)


# Room


def token(name: str) -> TokenDigest:
    return digest(TaskToken(name))


def of(size: int, path: str = "a") -> Artifact:
    return Artifact(path=path, size=size, sha256=NONE)


class Shelves:
    """An engine in which each worker has one job, of its own name."""

    def __init__(self, *names: str, keep: Retention = KEEP) -> None:
        self.engine = Engine(keep)
        self.now = Instant(0)
        for name in names:
            wish = JobRequest(spec=JobSpec(command="x", attempts_max=2))
            self.record(self.engine.queue.enqueue(JobId(name), wish, self.now))
            self.lease(name)

    def record(self, facts: object) -> None:
        self.engine.record(facts, self.now)  # type: ignore[arg-type]  # whatever a verb has decided
        self.engine.check()

    def lease(self, name: str, number: int = 1) -> None:
        self.record(
            self.engine.queue.lease(
                [QueueKey("default")],
                token=token(f"{name}{number}"),
                worker=WorkerId(name),
                span=Millis(60_000),
                now=self.now,
            )
        )

    def keep(self, name: str, artifact: Artifact, number: int = 1) -> list[object]:
        facts = self.engine.queue.store_artifact(token(f"{name}{number}"), artifact, now=self.now)
        self.record(facts)
        return list(facts)

    def end(self, name: str) -> None:
        self.record(self.engine.queue.finish(token(f"{name}1"), DONE))

    def counted(self, name: str) -> tuple[int, int]:
        job = self.engine.table.job(JobId(name))
        return job.artifacts, job.artifact_bytes


def test_an_artifact_is_recorded_with_its_attempt_and_counted() -> None:
    it = Shelves("one")
    assert it.keep("one", of(4)) == [ArtifactKept(JobId("one"), 1, of(4))]
    it.keep("one", of(0, "b"))
    assert it.counted("one") == (2, 4)
    assert it.engine.table.artifact_bytes == 4


def test_what_a_job_may_leave_is_bounded_for_each_and_no_later_try_helps() -> None:
    it = Shelves("one")
    it.keep("one", of(4))
    with pytest.raises(InvalidRequest, match="more than the 6 B that this server keeps of one job"):
        it.keep("one", of(3, "b"))
    it.keep("one", of(2, "b"))
    assert it.counted("one") == (2, 6)


def test_a_job_leaves_no_more_files_than_it_may() -> None:
    it = Shelves("one")
    for number in range(limits.ARTIFACTS_MAX):
        fact = ArtifactKept(JobId("one"), 1, of(0, str(number)))
        it.engine.record((fact,), it.now)
    with pytest.raises(InvalidRequest, match="ARTIFACTS_MAX"):
        it.keep("one", of(0, "more"))


def test_the_oldest_go_for_a_new_one_and_neither_the_watched_nor_the_young() -> None:
    it = Shelves("one", "two", "new")
    it.keep("one", of(5))
    it.keep("two", of(5))
    it.end("one")
    it.now = Instant(1)
    it.end("two")
    for now in (0, 999):
        it.now = Instant(now)
        with pytest.raises(LimitReached, match="finished for 1 s: try again later"):
            it.keep("new", of(1))
    it.now = Instant(1_000)
    it.engine.watched[JobId("one")] += 1
    with pytest.raises(LimitReached):
        it.keep("new", of(1))
    it.engine.watched.clear()
    kept = ArtifactKept(JobId("new"), 1, of(1))
    assert it.keep("new", of(1)) == [ArtifactsDropped(JobId("one")), kept]
    assert (it.counted("one"), it.counted("two")) == ((0, 0), (1, 5))
    it.now = Instant(1_001)
    assert it.keep("new", of(5, "b"))[0] == ArtifactsDropped(JobId("two"))


def test_no_more_of_them_go_than_is_needed_and_all_that_go_at_once() -> None:
    it = Shelves("one", "two", "three", "new", keep=KEEP)
    for name, size in (("one", 3), ("two", 3), ("three", 3)):
        it.keep(name, of(size))
        it.end(name)
        it.now = Instant(it.now + 1)
    it.now = Instant(10_000)
    dropped = [ArtifactsDropped(JobId("one")), ArtifactsDropped(JobId("two"))]
    assert it.keep("new", of(6))[:-1] == dropped
    assert it.counted("three") == (1, 3)


def test_room_may_be_asked_for_before_a_byte_has_come() -> None:
    it = Shelves("one", "new")
    it.keep("one", of(6))
    it.end("one")
    it.now = Instant(5_000)
    queue = it.engine.queue
    assert queue.make_artifact_room(token("new1"), 4, now=it.now) == []
    it.record(queue.make_artifact_room(token("new1"), 5, now=it.now))
    assert it.counted("one") == (0, 0)
    with pytest.raises(StaleLease):
        queue.make_artifact_room(token("one1"), 1, now=it.now)


@holds("results/artifacts-are-fenced")
@pytest.mark.parametrize("ending", [AttemptEnd.RELEASED, AttemptEnd.LOST])
def test_what_an_attempt_left_is_void_when_the_next_one_has_to_come(ending: AttemptEnd) -> None:
    it = Shelves("one")
    it.keep("one", of(5))
    it.record(it.engine.queue.give_back(token("one1"), ending))
    assert it.counted("one") == (0, 0)
    assert it.engine.table.artifact_bytes == 0
    it.lease("one", 2)
    with pytest.raises(StaleLease):
        it.keep("one", of(1), number=1)
    assert it.keep("one", of(6), number=2) == [ArtifactKept(JobId("one"), 2, of(6))]


def test_the_last_attempt_s_stay_though_it_was_lost() -> None:
    it = Shelves("one")
    it.record(it.engine.queue.give_back(token("one1"), AttemptEnd.LOST))
    it.lease("one", 2)
    it.keep("one", of(5), number=2)
    it.record(it.engine.queue.give_back(token("one2"), AttemptEnd.LOST))
    assert it.engine.table.job(JobId("one")).state.final
    assert it.counted("one") == (1, 5)
    assert [id for _, id in it.engine.table.artifact_owners] == ["one"]


def test_nothing_is_kept_of_a_job_that_has_ended() -> None:
    it = Shelves("one")
    it.end("one")
    with pytest.raises(StaleLease):
        it.keep("one", of(1))
