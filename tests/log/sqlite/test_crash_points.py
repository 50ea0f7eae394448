"""A crash at every point of a log's life, and what is left of it.

A log of real jobs is written through a layer that records each write and each sync. From that
follow all the files that a crash may leave (crashes.py says by which model); each is put into a
folder of its own and opened as a server would. Then the log must say a prefix of what it
was given, batch by batch; all that was answered is in it; and it goes on.

`make fuzz SEEDS=n` writes more logs, one for each hundred seeds.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest

from airunner.log.log import Fsync, LogDamaged, LogFull
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.repair.check import check
from airunner.log.sqlite.schema import checksum_vfs
from airunner.log.sqlite.wal import survey
from airunner.model.facts import ArtifactKept, Event
from airunner.model.job_events import ArtifactStored
from airunner.model.jobs import Instant, JobId, JobRequest
from airunner.model.limits import MIB
from airunner.model.spec import JobSpec
from airunner.store.engine import Engine
from tests.log.sqlite.crash_states import Crashes, State
from tests.log.sqlite.event_samples import (
    MEMORY,
    NAME,
    Chapter,
    Story,
    engine_of,
    flooded,
    is_chapter,
    known,
    walked,
)
from tests.log.sqlite.recording_vfs import (
    Answered,
    Cut,
    Done,
    Forgetful,
    Narrow,
    Recording,
    Synced,
    Wrote,
    beneath_checksums,
)
from tests.log.sqlite.sample_logs import shelve
from tests.promises import holds, promise

SEEDS = max(1, int(os.environ.get("AIRUNNER_SEEDS", "1")) // 100)  # a log has a thousand states
NOW = Instant(1_000)
Chapters = Mapping[int, Chapter]


@promise(
    "log-file/answers-outlive-crashes",
    "An answered request outlives a crash at any step: a kill, a power cut, a torn or a reordered "
    "write, a second crash, a full disk before the crash. The crash leaves a sound prefix of the "
    "log, batch by batch, and a server continues from it.",
)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_crash_at_any_step_loses_nothing_that_was_answered(seed: int, tmp_path: Path) -> None:
    story, journal = short(seed), recorded(short(seed), Recording(tmp_path))
    crashes = Crashes(journal, seed)
    notes = outlived(chain(crashes.killed(), crashes.powerless()), story)
    assert any("torn tail" in each for each in notes)


@holds("log-file/answers-outlive-crashes")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_power_cut_may_keep_any_of_what_was_not_synced(seed: int, tmp_path: Path) -> None:
    story, journal = short(seed), recorded(short(seed), Recording(tmp_path))
    outlived(Crashes(journal, seed).shuffled(samples=2), story)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_crash_in_a_long_life_loses_nothing_that_was_answered(seed: int, tmp_path: Path) -> None:
    story = walked(seed, steps=300, batch_max=20)
    crashes = Crashes(recorded(story, Recording(tmp_path)), seed, part=0.006)
    states = chain(crashes.killed(), crashes.powerless(), crashes.shuffled(samples=1))
    outlived(states, story)


@holds("log-file/answers-outlive-crashes")
def test_a_crash_while_space_is_given_back_loses_nothing(tmp_path: Path) -> None:
    story = asyncio.run(flooded())
    journal = recorded(story, Recording(tmp_path), tidied=True)
    largest = max(done.size for done in journal if isinstance(done, Cut))
    assert largest > 1 * MIB, "no space was given back"
    crashes = Crashes(journal, 0, part=0.006)
    states = chain(crashes.killed(), crashes.powerless(), crashes.shuffled(samples=1))
    outlived(states, story)


def test_a_kill_loses_nothing_that_was_answered_without_a_sync_for_each_answer(
    tmp_path: Path,
) -> None:
    story = short(0)
    journal = recorded(story, Recording(tmp_path), Fsync.NORMAL)
    outlived(sampled(Crashes(journal, 0).killed()), story)


def test_a_power_cut_without_a_sync_for_each_answer_leaves_a_prefix_or_is_refused(
    tmp_path: Path,
) -> None:
    story = short(0)
    journal = recorded(story, Recording(tmp_path), Fsync.NORMAL)
    promises_nothing = [each for each in journal if not isinstance(each, Answered)]
    refused = 0
    for state in sampled(Crashes(promises_nothing, 0).shuffled(samples=2)):
        try:
            outlived([state], story)
        except LogDamaged:
            refused += 1
    assert refused


@holds("log-file/answers-outlive-crashes")
def test_a_crash_after_a_crash_is_no_worse(tmp_path: Path) -> None:
    first = lived(tmp_path / "first", "first", [2, 12])  # the torn tail of so many jobs is longer
    longest = sorted(first.crashes(samples=4), key=tail)[-3:]
    for number, state in enumerate(longest):
        second = lived(tmp_path / str(number), "second", [1], state)  # than that of one
        for state_again in sampled(second.crashes(samples=10), every=3):
            asyncio.run(outlives(state_again, second.chapters, NOW))


@holds("log-file/answers-outlive-crashes")
def test_a_crash_after_the_disk_was_full_is_no_worse(tmp_path: Path) -> None:
    for room in range(1, 20, 6):
        folder = tmp_path / str(room)
        folder.mkdir()
        recording, chapters = Narrow(folder), dict[int, Chapter]()
        with beneath_checksums(recording):
            asyncio.run(filled(recording, chapters, room))
        crashes = Crashes(recording.journal, room, part=0.1)
        for state in chain(crashes.killed(), crashes.powerless(), crashes.shuffled(samples=2)):
            asyncio.run(outlives(state, chapters, NOW))


@holds("log-file/answers-outlive-crashes")
def test_every_answer_waits_until_all_that_was_written_for_it_is_synced(tmp_path: Path) -> None:
    assert not unsynced_answers(recorded(short(0), Recording(tmp_path)))


# What must fail, does


def test_a_disk_that_only_says_that_it_syncs_is_found_out(tmp_path: Path) -> None:
    story, journal = short(0), recorded(short(0), Forgetful(tmp_path))
    assert unsynced_answers(journal)
    with pytest.raises((AssertionError, LogDamaged)):
        outlived(Crashes(journal, 0).powerless(), story)


def test_a_log_that_promises_more_than_it_syncs_is_found_out(tmp_path: Path) -> None:
    story, journal = short(0), recorded(short(0), Recording(tmp_path), Fsync.NORMAL)
    assert unsynced_answers(journal)
    with pytest.raises(AssertionError, match="was answered"):
        outlived(Crashes(journal, 0).powerless(), story)


def test_a_log_that_answers_before_it_commits_is_found_out(tmp_path: Path) -> None:
    story, journal = short(0), recorded(short(0), Recording(tmp_path), hasty=True)
    with pytest.raises(AssertionError, match="was answered"):
        outlived(Crashes(journal, 0).killed(), story)


# The life of a log


def short(seed: int) -> Story:
    return walked(seed, steps=70, batch_max=6)


def sampled(states: Iterable[State], every: int = 5) -> Iterable[State]:
    return islice(states, 0, None, every)


def tail(state: State) -> int:
    """How many frames of a transaction that was never answered stand in the write-ahead log."""
    with TemporaryDirectory(dir=MEMORY) as folder:
        state.put(Path(folder))
        return survey(Path(folder) / f"{NAME}-wal").dropped


def recorded(
    story: Story,
    recording: Recording,
    fsync: Fsync = Fsync.FULL,
    *,
    hasty: bool = False,
    tidied: bool = False,
) -> Sequence[Done]:
    """What happens to the files while a log that is served three times is told the story.

    `hasty`: the answers go out before the log has been asked. `tidied`: each batch waits until
    the log has done all of its housekeeping.
    """

    async def tell() -> None:
        third = len(story.batches) // 3 + 1
        for start in range(0, len(story.batches), third):
            log = SqliteLog.open(recording.folder / NAME, fsync=fsync)
            for number, batch in enumerate(story.batches[start : start + third]):
                if hasty:
                    recording.answered(batch[-1].place)
                await log.append(batch)
                recording.answered(batch[-1].place)
                if tidied:
                    await log.trimmed()
                elif number % 3 == 2:
                    checkpoint(recording.folder / NAME)
            await log.close()

    with beneath_checksums(recording):
        asyncio.run(tell())
    return recording.journal


def checkpoint(path: Path) -> None:
    """What a server does by itself when its write-ahead log has grown."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=checksum_vfs())
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    connection.close()


@dataclass(frozen=True, slots=True)
class Life:
    """What happened to the files of a log that was served once, and what it had to say."""

    recording: Recording
    chapters: Chapters

    def crashes(self, samples: int) -> Iterator[State]:
        recording = self.recording
        return Crashes(recording.journal, samples, found=recording.found).shuffled(samples)


def lived(folder: Path, name: str, batches: Sequence[int], found: State | None = None) -> Life:
    """A server's life on what was found, in which it is given batches of so many jobs."""
    folder.mkdir()
    if found:
        found.put(folder)
    recording, chapters = Recording(folder), dict[int, Chapter]()

    async def live() -> None:
        log = SqliteLog.open(folder / NAME)
        engine = await engine_of(log)
        chapters[engine.tail] = Chapter(engine.tail, known(engine), {})
        for batch, size in enumerate(batches):
            ids = [JobId(f"{name} {batch} {number}") for number in range(size)]
            await add_jobs(log, engine, NOW, ids)
            recording.answered(engine.tail)
            chapters[engine.tail] = Chapter(engine.tail, known(engine), {})
        await log.close()

    with beneath_checksums(recording):
        asyncio.run(live())
    return Life(recording, chapters)


async def filled(recording: Narrow, chapters: dict[int, Chapter], room: int) -> None:
    """A life in which the disk is full after so many writes of an append, which is tried again."""
    log, engine = SqliteLog.open(recording.folder / NAME), Engine()
    chapters[0] = Chapter(0, [], {})
    for size in (1, 10, 1):
        ids = [JobId(f"{size} {engine.tail} {number}") for number in range(size)]
        if size > 1:
            recording.room = room
        events = enqueued(engine, NOW, ids)
        try:
            await log.append(events)
        except LogFull:
            recording.room = 1_000_000
            await log.append(events)
        recording.answered(engine.tail)
        chapters[engine.tail] = Chapter(engine.tail, known(engine), {})
    assert recording.room > 1_000, "it was never full"
    await log.close()


async def add_jobs(log: SqliteLog, engine: Engine, now: Instant, ids: Sequence[JobId]) -> None:
    """Append what a server that starts says, and some jobs."""
    resumed = engine.record(engine.queue.resume(now), now)
    await log.append([*resumed, *enqueued(engine, now, ids)])


def enqueued(engine: Engine, now: Instant, ids: Sequence[JobId]) -> list[Event]:
    """Jobs of half a page each."""
    wish = JobRequest(spec=JobSpec(command="x" * 3_000))
    return [
        event for id in ids for event in engine.record(engine.queue.enqueue(id, wish, now), now)
    ]


def unsynced_answers(journal: Sequence[Done]) -> int:
    """How many answers went out before what had been written was synced."""
    unsynced, count = set[int](), 0
    for done in journal:
        match done:
            case Wrote(file):
                unsynced.add(file)
            case Synced(file):
                unsynced.discard(file)
            case Answered():
                count += bool(unsynced)
            case _:
                pass
    return count


# And what is left of it


def outlived(states: Iterable[State], story: Story) -> list[str]:
    """Hold every state against the story; what the logs had to say when they were opened."""

    async def hold() -> list[str]:
        chapters = await story.chapters()
        return [note for each in states for note in await outlives(each, chapters, story.now)]

    return asyncio.run(hold())


async def outlives(state: State, chapters: Chapters, now: Instant) -> tuple[str, ...]:
    """Assert that a server can go on from the state, and that nothing that was answered is lost."""
    with TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / NAME
        state.put(path.parent)
        try:
            return await is_sound(path, state.answered, chapters, now)
        except Exception as error:
            error.add_note(state.crash)
            raise


def shelve_all(path: Path, chapter: Chapter) -> None:
    """Put the bytes of a chapter's artifacts beside its log: they are no part of what crashed."""
    for id, stream in chapter.streams.items():
        for entry in stream:
            if isinstance(entry.body, ArtifactStored):
                artifact = entry.body.artifact
                fact = ArtifactKept(id, entry.attempt, artifact)
                shelve(path, fact, bytes(artifact.size))


async def is_sound(path: Path, answered: int, chapters: Chapters, now: Instant) -> tuple[str, ...]:
    log = SqliteLog.open(path)
    notes = log.notes
    try:
        engine = await is_chapter(log, chapters)
        end = engine.tail
        assert end >= answered, f"{answered} was answered, and the log ends at {end}"
        await add_jobs(log, engine, now, [JobId("the next")])
    finally:
        await log.close()
    log = SqliteLog.open(path)
    try:
        assert not log.notes
        assert known(await engine_of(log)) == known(engine)
    finally:
        await log.close()
    shelve_all(path, chapters[end])
    found = list[str]()
    check(path, found.append)
    assert not found
    return notes
