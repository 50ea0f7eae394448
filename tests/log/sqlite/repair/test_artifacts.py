"""The files beside a log: checked, copied with it, and saved from a damaged one."""

import asyncio
import os
import stat
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from airunner.blobs.folder import blob_path, blobs_folder
from airunner.log.log import LogRefused
from airunner.log.sqlite.backup import backup
from airunner.log.sqlite.repair.artifacts import copy, stored_artifacts
from airunner.log.sqlite.repair.check import Checked, check
from airunner.log.sqlite.repair.salvage import salvage
from airunner.log.sqlite.schema import connect
from airunner.model.artifacts import Artifact
from airunner.model.facts import ArtifactKept, ArtifactsDropped, Event
from airunner.model.jobs import JobId, Millis, Position, Sequence, TaskToken, WorkerId, digest
from airunner.model.namespaces import QueueKey
from tests.log.log_contract import NOW, Writer
from tests.log.sqlite.sample_logs import JOBS, Rows, shelve, store
from tests.promises import holds, promise

ONE, TWO = JOBS[:2]
SHM = Path("/dev/shm")  # where a folder of its own is made
DATA = (b"", b"one\n", os.urandom(300_000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def artifact(path: str, data: bytes) -> Artifact:
    return Artifact(path=path, size=len(data), sha256=sha256(data).hexdigest())


async def leave(writer: Writer, path: Path, id: JobId, *files: bytes) -> list[ArtifactKept]:
    """A job that is run and leaves these files."""
    engine, token = writer.engine, digest(TaskToken(f"token of {id}"))
    await writer.run(id, ends=False)
    kept = []
    for number, data in enumerate(files):
        facts = engine.queue.store_artifact(token, artifact(f"file {number}", data), now=NOW)
        await writer.append(engine.record(facts, NOW))
        (fact,) = facts
        assert isinstance(fact, ArtifactKept)
        shelve(path, fact, data)
        kept.append(fact)
    return kept


def left(path: Path, *ids: JobId, again: JobId | None = None) -> dict[JobId, list[ArtifactKept]]:
    """A log at the path in which each job has left all of DATA; `again`: then was given back."""

    async def run(writer: Writer) -> dict[JobId, list[ArtifactKept]]:
        kept = {id: await leave(writer, path, id, *DATA) for id in ids}
        if again:
            token = digest(TaskToken(f"token of {again}"))
            await writer.append(writer.engine.record(writer.engine.queue.give_back(token), NOW))
            facts = writer.engine.queue.lease(
                [QueueKey(str(again))], token=digest(TaskToken("next")), worker=WorkerId("w"),
                span=Millis(1), now=NOW,
            )  # fmt: skip
            await writer.append(writer.engine.record(facts, NOW))
        return kept

    with closing((log := Rows(path)).connection):
        return asyncio.run(run(Writer(log)))


def found(path: Path) -> tuple[Checked, list[str]]:
    told: list[str] = []
    return check(path, told.append), told


def place(path: Path, fact: ArtifactKept) -> Path:
    return blob_path(blobs_folder(path), fact.id, fact.attempt, fact.artifact)


@promise(
    "results/artifacts-follow-their-log",
    "`log check`, `log backup` and `log salvage` cover artifacts too, and name each file that "
    "differs or is missing.",
)
def test_a_check_holds_each_file_against_what_was_kept(path: Path) -> None:
    facts = left(path, ONE, TWO)
    seen, told = found(path)
    assert not told
    assert (seen.artifacts, seen.artifact_bytes) == (6, 2 * sum(map(len, DATA)))
    changed, short = place(path, facts[ONE][2]), place(path, facts[TWO][2])
    data = bytearray(changed.read_bytes())
    data[1000] ^= 1
    changed.write_bytes(data)
    os.truncate(short, 299_999)
    place(path, facts[TWO][1]).unlink()
    place(path, facts[TWO][0]).unlink()
    place(path, facts[TWO][0]).mkdir()
    seen, told = found(path)
    assert seen.findings == 4
    assert told[0].startswith("the artifact file 2 of job one has changed: ")
    assert told[0].endswith(f"{changed} has another digest")
    assert "the artifact file 0 of job two cannot be read" in told[1]
    assert "the artifact file 1 of job two is missing: there is no " in told[2]
    assert "the artifact file 2 of job two has 299999 bytes" in told[3]


def test_what_an_attempt_left_that_was_given_back_is_not_missed(path: Path) -> None:
    facts = left(path, ONE, TWO, again=ONE)
    for fact in facts[ONE]:
        place(path, fact).unlink()
    seen, told = found(path)
    assert (seen.artifacts, told) == (3, [])


@holds("results/artifacts-follow-their-log")
def test_what_retention_took_meanwhile_is_missed_by_nobody(path: Path, tmp_path: Path) -> None:
    facts = left(path, ONE)
    with closing(connect(path, write=True)) as connection:
        wanted = list(stored_artifacts(connection))
        assert len(wanted) == 3
        last = Sequence(int(str(connection.execute("SELECT max(last) FROM facts").get)))
        with connection:
            store(connection, Event(Position(99), NOW, ArtifactsDropped(ONE), last))
    for fact in facts[ONE]:
        place(path, fact).unlink()
    done = copy(path, wanted, part := tmp_path / "part", digest=True)
    assert (done.files, done.lost) == (0, [])
    assert not part.exists()
    assert found(path)[1] == []


@holds("results/artifacts-follow-their-log")
def test_a_backup_has_the_files_that_its_log_names(path: Path, tmp_path: Path) -> None:
    facts = left(path, ONE, TWO, again=TWO)
    (blobs_folder(path) / "partial").mkdir()
    (blobs_folder(path) / "partial" / "half").write_bytes(b"ha")
    out = tmp_path / "out"
    done = backup(path, out)
    assert (done.files, done.size, done.lost) == (3, sum(map(len, DATA)), [])
    assert found(out)[1] == []
    folder = blobs_folder(out)
    files = [each for each in folder.rglob("*") if each.is_file()]
    assert sorted(files) == sorted(place(out, fact) for fact in facts[ONE])
    for each in (folder, *folder.rglob("*")):
        wanted = 0o600 if each.is_file() else 0o700
        assert stat.S_IMODE(each.stat().st_mode) == wanted
    assert place(out, facts[ONE][2]).read_bytes() == DATA[2]
    assert place(out, facts[ONE][2]).stat().st_nlink == 1


@pytest.mark.skipif(not SHM.is_dir(), reason="there is no second disk to copy to")
def test_a_backup_may_be_on_another_disk(path: Path) -> None:
    facts = left(path, ONE)
    with TemporaryDirectory(dir=SHM) as folder:
        done = backup(path, out := Path(folder) / "out")
        assert (done.files, done.lost) == (3, [])
        assert [place(out, fact).read_bytes() for fact in facts[ONE]] == list(DATA)
        assert found(out)[1] == []


def test_a_backup_without_artifacts_makes_no_folder(path: Path, tmp_path: Path) -> None:
    left(path, ONE, again=ONE)
    backup(path, tmp_path / "out")
    assert not blobs_folder(tmp_path / "out").exists()


def test_a_backup_names_what_it_did_not_find(path: Path, tmp_path: Path) -> None:
    facts = left(path, ONE)
    place(path, facts[ONE][1]).unlink()
    done = backup(path, tmp_path / "out")
    assert done.files == 2
    (lost,) = done.lost
    assert lost.startswith("the artifact file 1 of job one is missing")


def test_artifacts_that_are_there_are_never_overwritten(path: Path, tmp_path: Path) -> None:
    left(path, ONE)
    out = tmp_path / "out"
    blobs_folder(out).mkdir()
    for copying in (lambda: backup(path, out), lambda: salvage(path, out, print)):
        with pytest.raises(LogRefused, match="out-artifacts, for the artifacts of out, is there"):
            copying()
    assert not out.exists()
    assert not list(blobs_folder(out).iterdir())


@holds("results/artifacts-follow-their-log")
def test_a_salvage_takes_along_what_is_as_it_was_kept(path: Path, tmp_path: Path) -> None:
    facts = left(path, ONE, TWO)
    place(path, facts[ONE][2]).write_bytes(bytes(300_000))
    place(path, facts[TWO][1]).unlink()
    told: list[str] = []
    out = tmp_path / "out"
    done = salvage(path, out, told.append)
    assert (done.artifacts, done.lost_artifacts, done.lost) == (4, 2, True)
    assert "the artifact file 2 of job one has changed" in told[0]
    assert "the artifact file 1 of job two is missing" in told[1]
    assert [line.split(":")[0] for line in found(out)[1]] == [
        "the artifact file 2 of job one is missing",
        "the artifact file 1 of job two is missing",
    ]


def test_what_belonged_to_a_job_that_is_lost_is_left_behind(path: Path, tmp_path: Path) -> None:
    left(path, ONE, TWO)
    with closing(connect(path, write=True)) as connection:
        connection.execute("UPDATE facts SET at = 9 WHERE job = 'one' AND last = 1")
    out = tmp_path / "out"
    done = salvage(path, out, print)
    assert (done.left_out, done.artifacts, done.lost_artifacts) == (1, 3, 0)
    assert not (blobs_folder(out) / ONE).exists()
