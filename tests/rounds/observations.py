"""The clients' records: the only input of the crash test's checker.

Nothing here comes from inside a server or worker. The records are the answers of calls, the events
of streams, the output and exit codes of commands, and the files that jobs' commands wrote.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from airunner.model.job_events import JobEvent, JobEventBody, JobFinished
from airunner.model.jobs import Instant, JobId
from airunner.model.reports import Chunk, Output
from tests.rounds.expectations import Mark, Wish, marks_of


@dataclass(frozen=True, slots=True)
class Item:
    """A sequence number of a job with its content: an Output has an Item for each chunk."""

    sequence: int
    attempt: int
    at: Instant
    what: JobEventBody | Chunk


def items(entry: JobEvent) -> Iterator[Item]:
    """Splits an event by sequence numbers; batches of chunks may differ between watchers."""
    if isinstance(entry.body, Output):
        for sequence, chunk in enumerate(entry.body.chunks, entry.first):
            yield Item(sequence, entry.attempt, entry.at, chunk)
        return
    for sequence in range(entry.first, entry.last + 1):
        yield Item(sequence, entry.attempt, entry.at, entry.body)


@dataclass(slots=True)
class View:
    """The events of one watcher, over all its connections."""

    id: JobId
    start: int  # the first requested sequence
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
    key: str  # "" without a key


@dataclass(frozen=True, slots=True)
class Exit:
    """The exit code and output of `airunner submit` or `airunner monitor`."""

    id: JobId
    command: str
    code: int
    output: bytes  # on standard output
    errors: bytes
    lines: tuple[tuple[int, int, str], ...] = ()  # of --json: sequence, attempt, type


@dataclass(slots=True)
class Sightings:
    """The records of one campaign."""

    marks: Path  # the folder of the marks of jobs' commands
    wishes: dict[str, Wish] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)  # the most jobs that may exist for a tag
    accepted: list[Accepted] = field(default_factory=list)
    cancels: set[JobId] = field(default_factory=set)  # requested cancels
    cancelled: set[JobId] = field(default_factory=set)  # acknowledged cancels
    views: list[View] = field(default_factory=list)
    audits: dict[JobId, View] = field(default_factory=dict)  # from sequence 1, at the end
    exits: list[Exit] = field(default_factory=list)
    lingering: set[JobId] = field(default_factory=set)  # jobs with a live process after their end
    alarms: list[str] = field(default_factory=list)  # answers and events that must never occur

    @property
    def ids(self) -> dict[JobId, str]:
        """The tag of every acknowledged job."""
        return {each.id: each.tag for each in self.accepted}

    def marked(self, id: JobId) -> list[Mark]:
        return list(marks_of(self.marks, id))
