"""What clients saw: all that the checker of the rounds ever reads.

Nothing here comes from a server's or a worker's inside. It is what calls answered, what
streams showed, what commands printed and exited with, and what jobs' own commands left in files.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from airunner.model.job_events import JobEvent, JobEventBody, JobFinished, JobLeased
from airunner.model.jobs import Instant, JobId
from airunner.model.reports import Chunk, Output
from tests.rounds.expectations import Mark, Wish, marks_of


@dataclass(frozen=True, slots=True)
class Item:
    """One sequence of a job's stream: an Output has an Item for each of its chunks."""

    sequence: int
    attempt: int
    at: Instant
    what: JobEventBody | Chunk


def items(entry: JobEvent) -> Iterator[Item]:
    """An entry, sequence by sequence: how chunks are gathered is no watcher's business."""
    if isinstance(entry.body, Output):
        for sequence, chunk in enumerate(entry.body.chunks, entry.first):
            yield Item(sequence, entry.attempt, entry.at, chunk)
        return
    for sequence in range(entry.first, entry.last + 1):
        yield Item(sequence, entry.attempt, entry.at, entry.body)


@dataclass(slots=True)
class View:
    """One watcher's whole story, over as many connections as it took."""

    id: JobId
    start: int  # the sequence that it asked for
    who: str
    entries: list[JobEvent] = field(default_factory=list)

    @property
    def items(self) -> list[Item]:
        return [item for entry in self.entries for item in items(entry)]

    @property
    def ends(self) -> list[JobFinished]:
        return [each.body for each in self.entries if isinstance(each.body, JobFinished)]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that a server has acknowledged."""

    id: JobId
    tag: str
    key: str  # "": none was given


@dataclass(frozen=True, slots=True)
class Exit:
    """How `airunner submit` or `airunner monitor` ended."""

    id: JobId
    command: str
    code: int
    output: bytes  # on standard output
    errors: bytes
    lines: tuple[tuple[int, int, str], ...] = ()  # of --json: sequence, attempt, type


@dataclass(slots=True)
class Sightings:
    """What was seen in one campaign."""

    marks: Path  # where jobs' own commands leave theirs
    wishes: dict[str, Wish] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)  # how many jobs a tag may have become
    accepted: list[Accepted] = field(default_factory=list)
    cancels: set[JobId] = field(default_factory=set)  # that were asked for
    cancelled: set[JobId] = field(default_factory=set)  # whose cancel was acknowledged
    views: list[View] = field(default_factory=list)
    audits: dict[JobId, View] = field(default_factory=dict)  # read from 1 when all was over
    exits: list[Exit] = field(default_factory=list)
    frozen: set[str] = field(
        default_factory=set
    )  # names of workers that were out of touch too long
    lingering: set[JobId] = field(default_factory=set)  # that had a process when they had ended
    alarms: list[str] = field(default_factory=list)  # what nobody should ever have been told

    @property
    def ids(self) -> dict[JobId, str]:
        """The tag of every acknowledged job."""
        return {each.id: each.tag for each in self.accepted}

    def was_frozen(self, id: JobId) -> bool:
        """Whether a worker of this job could not know for a while that its lease was over."""
        if id not in self.audits:  # nobody was told of it, so nobody knows its workers
            return bool(self.frozen)
        takers = [each.body for each in self.audits[id].entries]
        return any(
            isinstance(what, JobLeased) and what.worker.rpartition(".")[0] in self.frozen
            for what in takers
        )

    def marked(self, id: JobId) -> list[Mark]:
        return list(marks_of(self.marks, id))
