"""One job at a time holds the lock of a source, also after crashes, freezes and races."""

import fcntl
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from airunner.system.descent import FOLDER
from airunner.worker.workspace.sources.source_lock import SourceLock
from airunner.worker.workspace.sources.source_names import LOCK
from airunner.worker.workspace.workspace import SetupFailed
from tests.promises import holds, promise
from tests.support.descriptors import open_descriptors

RACERS = 8
ROUNDS = 100


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    folder = tmp_path / "source"
    folder.mkdir()
    descriptor = os.open(folder, FOLDER)
    yield descriptor
    os.close(descriptor)


def names(source: int) -> list[str]:
    return os.listdir(source)


@promise(
    "sources/one-job-at-a-time",
    "A source has one job at a time, until the process of that job is gone, however it goes. A "
    "later attempt of the same job does not wait for an earlier attempt, and nothing of the "
    "earlier attempt gets into the results of the later one.",
)
def test_a_source_has_one_job_and_says_which(source: int) -> None:
    lock = SourceLock(source, "0190-one", 1)
    for job, attempt in (("0190-two", 1), ("0190-two", 9), ("0190-one", 1)):
        with pytest.raises(SetupFailed, match="busy with job 0190-one"):
            SourceLock(source, job, attempt)
    assert names(source) == [LOCK]
    lock.release()
    assert names(source) == []
    SourceLock(source, "0190-two", 1).release()


@holds("sources/one-job-at-a-time")
def test_a_later_attempt_of_a_job_takes_over_and_the_earlier_one_leaves_it_alone(
    source: int,
) -> None:
    frozen = SourceLock(source, "0190-one", 1)
    lock = SourceLock(source, "0190-one", 2)
    with pytest.raises(SetupFailed, match="busy with job 0190-one"):
        SourceLock(source, "0190-one", 1)
    frozen.release()
    assert names(source) == [LOCK]
    with pytest.raises(SetupFailed, match="busy with job 0190-one"):
        SourceLock(source, "0190-two", 1)
    lock.release()
    assert names(source) == []


def hold(folder: str, told: Connection) -> None:
    lock = SourceLock(os.open(folder, FOLDER), "0190-dead", 1)
    told.send(True)
    told.recv()
    lock.release()


@holds("sources/one-job-at-a-time")
def test_a_claim_ends_with_its_process_and_the_next_one_takes_its_place(
    source: int, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=hold, args=(str(tmp_path / "source"), its))
    process.start()
    assert ours.recv()
    with pytest.raises(SetupFailed, match="busy with job 0190-dead"):
        SourceLock(source, "0190-two", 1)
    process.kill()
    process.join()
    assert names(source) == [LOCK]
    lock = SourceLock(source, "0190-two", 1)
    with pytest.raises(SetupFailed, match="busy with job 0190-two"):
        SourceLock(source, "0190-dead", 1)
    lock.release()
    assert names(source) == []


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"x" * 1_000, b"a job 1\n", b"\x1b[31m 1\n"])
def test_what_a_lock_says_is_not_believed_unless_it_is_a_claim(source: int, text: bytes) -> None:
    with os.fdopen(os.open(LOCK, os.O_WRONLY | os.O_CREAT, dir_fd=source), "wb") as file:
        file.write(text)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SetupFailed, match="busy with another job"):
            SourceLock(source, "0190-one", 2)
    SourceLock(source, "0190-one", 2).release()


def test_a_lock_that_is_another_name_of_a_file_elsewhere_leaves_that_as_it_is(
    source: int, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    os.link(precious, tmp_path / "source" / LOCK)
    SourceLock(source, "0190-one", 1).release()
    assert precious.read_text() == "kept"
    assert names(source) == []


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def pipe(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, _outside: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [link, pipe, folder])
def test_a_lock_that_is_no_file_is_refused_and_nothing_happens_to_it(
    source: int, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    make(tmp_path / "source" / LOCK, outside)
    before = open_descriptors()
    with pytest.raises(OSError):
        SourceLock(source, "0190-one", 1)
    assert open_descriptors() <= before
    assert not outside.exists()
    assert names(source) == [LOCK]


@holds("sources/one-job-at-a-time")
def test_of_many_who_come_at_once_one_has_it(source: int) -> None:
    """In each round, threads lock the source together; an flock's owner is the open file."""

    def lock(number: int) -> SourceLock | None:
        try:
            return SourceLock(source, f"job-{number}", 1)
        except SetupFailed:
            return None

    with ThreadPoolExecutor(RACERS) as racers:
        for _ in range(ROUNDS):
            won = [each for each in racers.map(lock, range(RACERS)) if each is not None]
            assert len(won) == 1
            won[0].release()
            assert names(source) == []
