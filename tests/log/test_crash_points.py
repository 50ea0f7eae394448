"""A crash at every point of a log's life, and what is left of it.

A log of real jobs is written through a layer that records each write and each sync. From that
follow all the files that a crash may leave (crashes.py says by which model); each is put into a
folder of its own and opened as a server would. Then the log must say a prefix of what it
was given, batch by batch; all that was answered is in it; and it goes on.

`make fuzz SEEDS=n` writes more logs, one for each hundred seeds.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest

from airunner.jobs import Enqueue, Instant, JobId
from airunner.log.log import LogDamaged
from airunner.log.schema import checksum_vfs
from airunner.log.sqlite import SqliteLog
from airunner.log.writer import Fsync
from airunner.spec import JobSpec
from airunner.store.engine import Engine
from tests.log.crashes import Crashes, State
from tests.log.recording_vfs import (
    Answered,
    Done,
    Forgetful,
    Recording,
    Synced,
    Wrote,
    beneath_checksums,
)
from tests.log.story import Chapter, Story, engine_of, is_chapter, known

SEEDS = max(1, int(os.environ.get("AIRUNNER_SEEDS", "1")) // 100)  # a log has a thousand states
NAME = "log"
Chapters = Mapping[int, Chapter]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_crash_at_any_step_loses_nothing_that_was_answered(seed: int, tmp_path: Path) -> None:
    story, journal = short(seed), recorded(short(seed), Recording(tmp_path))
    crashes = Crashes(journal, seed)
    notes = outlived(chain(crashes.killed(), crashes.powerless()), story)
    assert any("torn tail" in each for each in notes)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_power_cut_may_keep_any_of_what_was_not_synced(seed: int, tmp_path: Path) -> None:
    story, journal = short(seed), recorded(short(seed), Recording(tmp_path))
    outlived(Crashes(journal, seed).shuffled(samples=2), story)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_crash_in_a_long_life_loses_nothing_that_was_answered(seed: int, tmp_path: Path) -> None:
    story = Story(seed, steps=300, batch_max=20)
    crashes = Crashes(recorded(story, Recording(tmp_path)), seed)
    states = chain(crashes.killed(), crashes.powerless(), crashes.shuffled(samples=1))
    outlived(sampled(states, every=101), story)


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


def test_a_crash_after_a_crash_is_no_worse(tmp_path: Path) -> None:
    story = short(0)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    crashes = Crashes(recorded(story, Recording(first)), 0).shuffled(samples=2)
    for number, state in enumerate(islice(sampled(crashes), 40)):
        folder = second / str(number)
        folder.mkdir()
        state.put(folder)
        recording = Recording(folder)
        with beneath_checksums(recording):
            chapters = asyncio.run(a_second_life(recording, story))
        again = Crashes(recording.journal, number, recording.found).shuffled(samples=2)
        for state_again in sampled(again):
            asyncio.run(outlives(state_again, chapters, story.now))


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
    return Story(seed, steps=70, batch_max=6)


def sampled(states: Iterable[State], every: int = 5) -> Iterable[State]:
    return islice(states, 0, None, every)


def recorded(
    story: Story, recording: Recording, fsync: Fsync = Fsync.FULL, *, hasty: bool = False
) -> Sequence[Done]:
    """What happens to the files while a log that is served three times is told the story.

    `hasty`: the answers go out before the log has been asked.
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
                if number % 3 == 2:
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


async def a_second_life(recording: Recording, story: Story) -> Chapters:
    """A server that starts on what a crash has left: what the log must say from then on."""
    log = SqliteLog.open(recording.folder / NAME)
    engine = await is_chapter(log, await story.chapters())
    chapters: dict[int, Chapter] = {engine.tail: Chapter(engine.tail, known(engine), {})}
    for number in range(3):
        await add_job(log, engine, story.now, JobId(f"later {number}"))
        recording.answered(engine.tail)
        chapters[engine.tail] = Chapter(engine.tail, known(engine), {})
    await log.close()
    return chapters


async def add_job(log: SqliteLog, engine: Engine, now: Instant, id: JobId) -> None:
    """Append what a server that starts says, and a job."""
    events = engine.record(engine.queue.resume(now), now)
    wish = Enqueue(spec=JobSpec(command="x"))
    await log.append([*events, *engine.record(engine.queue.enqueue(id, wish, now), now)])


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
    with TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        state.put(path.parent)
        try:
            return await is_sound(path, state.answered, chapters, now)
        except Exception as error:
            error.add_note(state.crash)
            raise


async def is_sound(path: Path, answered: int, chapters: Chapters, now: Instant) -> tuple[str, ...]:
    log = SqliteLog.open(path)
    notes = log.notes
    try:
        engine = await is_chapter(log, chapters)
        assert engine.tail >= answered, (
            f"{answered} was answered, and the log ends at {engine.tail}"
        )
        await add_job(log, engine, now, JobId("the next"))
    finally:
        await log.close()
    log = SqliteLog.open(path)
    try:
        assert not log.notes
        assert known(await engine_of(log)) == known(engine)
    finally:
        await log.close()
    return notes
