"""Every state in which a crash may leave a folder, from the journal of what was done to it.

The model
=========

    killed     the process dies: the system has everything that it did
    powerless  the power goes: what was synced is there, and of what was not, in the order in
               which it was done, the first so many
    torn       as either, and of the last write the beginning alone is there, cut at the
               end of a sector or within one; behind that are the old bytes, or zeros
    shuffled   as powerless, but any of what was not synced is there, whole or torn

A file that is synced has its name: SQLite syncs the folder with the first sync of a file that
it has made. Until then that it was made, and that another was removed, are like writes that
were not synced: they come in their order, or (shuffled) at all or not. A file whose name is not
there is not there. No write damages what it does not write to: SQLite counts on that too, unless
it is built otherwise.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, assert_never

from tests.log.sqlite.recording_vfs import Answered, Cut, Done, Gone, Made, Synced, Wrote

SECTOR_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class State:
    """What a crash has left."""

    crash: str  # what happened, and when
    answered: int  # the highest place of which somebody was told that it is durable
    files: Mapping[str, bytes]

    def put(self, folder: Path) -> None:
        """Write the files into a folder, which is empty."""
        for name, data in self.files.items():
            (folder / name).write_bytes(data)


class Disk:
    """The files of a folder, as far as somebody has done something to them."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.data: dict[int, bytearray] = {}

    def copy(self) -> "Disk":
        twin = Disk()
        twin.names = dict(self.names)
        twin.data = {file: bytearray(data) for file, data in self.data.items()}
        return twin

    def do(self, done: Done) -> None:
        """One step; what is done to a file without a name is done to nothing that is left."""
        match done:
            case Made(file, name, data):
                self.names[name] = file
                self.data.setdefault(file, bytearray())[:0] = data
            case Gone(file, name):
                if self.names.get(name) == file:
                    del self.names[name]
            case Wrote(file, offset, data):
                held = self.data.setdefault(file, bytearray())
                held.extend(bytes(max(0, offset - len(held))))
                held[offset : offset + len(data)] = data
            case Cut(file, size):
                held = self.data.setdefault(file, bytearray())
                held.extend(bytes(max(0, size - len(held))))
                del held[size:]
            case Synced() | Answered():
                pass
            case _:
                assert_never(done)

    def files(self) -> dict[str, bytes]:
        return {name: bytes(self.data[file]) for name, file in self.names.items()}


class Crashes:
    """The states after a crash at any point of a journal, each different one once."""

    def __init__(
        self, journal: Sequence[Done], seed: int, *, found: int = 0, part: float = 1
    ) -> None:
        """`found` steps of the journal only say what was there before.

        `part`: of all states so many will do, 1 being all.
        """
        self._journal, self._found, self._part = journal, found, part
        self._seed, self._dice = seed, random.Random(seed)
        self._seen: dict[bytes, int] = {}  # what was answered, by the digest of the files

    def killed(self) -> Iterator[State]:
        """After each step, and within each write."""
        disk, answered = Disk(), 0
        for number, done in enumerate(self._journal, 1):
            for torn in self._torn(done) if number > self._found else ():
                yield from self._state(f"killed within step {number}", answered, disk, [torn])
            disk.do(done)
            answered = done.place if isinstance(done, Answered) else answered
            if number >= self._found:
                yield from self._state(f"killed after step {number}", answered, disk)

    def powerless(self) -> Iterator[State]:
        """After each step: what was synced, and the first so many of what was not."""
        for number, last, moment in self._moments():
            fresh = isinstance(last, Synced | Answered)  # else all but the newest was told before
            pending, there = moment.pending, f"power cut after step {number}"
            for count in range(0 if fresh else len(pending), len(pending) + 1):
                for torn in self._torn(pending[count - 1]) if count else ():
                    said, left = (
                        f"{there}, within unsynced step {count}",
                        [*pending[: count - 1], torn],
                    )
                    yield from self._state(said, moment.answered, moment.synced, left)
                said = f"{there}, {count} unsynced steps there"
                yield from self._state(said, moment.answered, moment.synced, pending[:count])

    def shuffled(self, samples: int) -> Iterator[State]:
        """After each step: what was synced, and so many samples of what was not."""
        for number, _, moment in self._moments():
            for _ in range(samples if moment.pending else 0):
                left, kept = list[Done](), self._dice.choice([0.1, 0.5, 0.9])
                for done in moment.pending:
                    if self._dice.random() < kept:
                        left.append(done)
                    elif self._dice.random() < 0.3 and (torn := self._torn(done)):
                        left.append(self._dice.choice(torn))
                said = f"power cut after step {number}, shuffled"
                yield from self._state(said, moment.answered, moment.synced, left)

    def _torn(self, done: Done) -> list[Done]:
        """Some ways in which a write may be there in part: of the same write always the same."""
        if not isinstance(done, Wrote) or len(done.data) < 2:
            return []
        size = len(done.data)
        dice = random.Random(f"{self._seed} {done.offset} {size}")
        ends = range(SECTOR_BYTES - done.offset % SECTOR_BYTES, size, SECTOR_BYTES)
        cuts = {dice.randrange(1, size), *dice.sample(ends, min(len(ends), 2))}
        return [
            replace(done, data=rest)
            for cut in sorted(cuts)
            for rest in (done.data[:cut], done.data[:cut] + bytes(size - cut))
        ]

    def _moments(self) -> Iterator[tuple[int, Done, "_Moment"]]:
        """Each step with its number, and what was so after it."""
        moment = _Moment()
        for number, done in enumerate(self._journal, 1):
            moment.do(done)
            if number >= self._found:
                yield number, done, moment

    def _state(
        self, crash: str, answered: int, disk: Disk, more: Sequence[Done] = ()
    ) -> Iterator[State]:
        """The disk with some more done to it, unless it was there before with as much answered."""
        if self._part < 1 and self._dice.random() >= self._part:
            return
        if more:
            disk = disk.copy()
        for done in more:
            disk.do(done)
        state, told = State(crash, answered, disk.files()), sha256()
        for name in sorted(state.files):
            told.update(b"%s %d " % (name.encode(), len(state.files[name])))
            told.update(state.files[name])
        digest = told.digest()
        if self._seen.get(digest, -1) < answered:
            self._seen[digest] = answered
            yield state


class _Moment:
    """What has been answered, what has been synced, and what has not, in its order."""

    def __init__(self) -> None:
        self.answered = 0
        self.synced = Disk()
        self.pending: list[Made | Gone | Wrote | Cut] = []

    def do(self, done: Done) -> None:
        match done:
            case Answered(place):
                self.answered = place
            case Synced(file):
                left = list[Made | Gone | Wrote | Cut]()
                for each in self.pending:
                    if isinstance(each, Made | Gone) or each.file == file:
                        self.synced.do(each)
                    else:
                        left.append(each)
                self.pending = left
            case _:
                self.pending.append(done)
