"""What a worker says of an attempt while it runs.

A worker numbers its reports 1, 2, 3 ... within each attempt, so that a report
that is sent twice is stored once. `width(report)` is how many numbers it takes:
an Output takes one for each of its chunks, everything else takes one. The
server gives each its place in the job's own stream of sequences.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from airunner.model.jobs import Instant, Millis
from airunner.model.steps import StepStatus


class Stream(StrEnum):
    STDOUT = "stdout"  # also everything that a terminal receives
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes that the command wrote, as they were read; `at` by the worker's clock."""

    stream: Stream
    data: bytes
    at: Instant


@dataclass(frozen=True, slots=True)
class Output:
    """Chunks in the order in which the worker read them; at least one."""

    chunks: tuple[Chunk, ...]
    step: int | None = None  # the index of the step that wrote them, in a job of steps

    @property
    def size(self) -> int:
        """Bytes of output."""
        return sum(len(chunk.data) for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class OutputCut:
    """Output was written here and is not kept: a limit was reached, or retention took it.

    `items` is how many sequences it stands for, so that a stream with a cut in
    it is still a stream without a gap.
    """

    items: int
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    pid: int
    started_at: Instant


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    pid: int
    exit_code: int  # 128 + signal after a death by signal
    duration: Millis


@dataclass(frozen=True, slots=True)
class ProcessFailed:
    """The command could not be started, or something about it went wrong."""

    error: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    index: int  # 0, 1, 2 ...
    name: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    """No process of the step is left."""

    index: int
    name: str
    status: StepStatus
    exit_code: int | None  # None: it could not be started, or did not end by itself
    duration: Millis


@dataclass(frozen=True, slots=True)
class Alive:
    """A heartbeat as the published contract's workers log it."""

    elapsed: Millis
    alive: bool


@dataclass(frozen=True, slots=True)
class TerminalResized:
    columns: int
    rows: int
    width_pixels: int = 0
    height_pixels: int = 0


@dataclass(frozen=True, slots=True)
class CloneStarted:
    repository: str
    commit: str
    branch: str
    started_at: Instant


@dataclass(frozen=True, slots=True)
class CloneProgressed:
    """How far a clone has come, in git's own words: `Receiving objects:  45% (9/20)`."""

    message: str


@dataclass(frozen=True, slots=True)
class CloneEnded:
    commit: str  # what was checked out, in full
    duration: Millis
    directory: str


@dataclass(frozen=True, slots=True)
class CloneFailed:
    error: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What its worker has to say about the attempt, for whoever reads the log."""

    message: str


@dataclass(frozen=True, slots=True)
class ContainerCreated:
    container: str
    image: str
    created_at: Instant


@dataclass(frozen=True, slots=True)
class ContainerRemoved:
    container: str
    removed_at: Instant


@dataclass(frozen=True, slots=True)
class ImagePullStarted:
    image: str
    started_at: Instant


@dataclass(frozen=True, slots=True)
class ImagePullProgressed:
    image: str
    status: str
    current: int  # bytes
    total: int  # bytes


@dataclass(frozen=True, slots=True)
class ImagePullEnded:
    image: str
    duration: Millis


Report = (
    Output
    | OutputCut
    | ProcessStarted
    | ProcessEnded
    | ProcessFailed
    | StepStarted
    | StepEnded
    | Alive
    | TerminalResized
    | CloneStarted
    | CloneProgressed
    | CloneEnded
    | CloneFailed
    | Remark
    | ContainerCreated
    | ContainerRemoved
    | ImagePullStarted
    | ImagePullProgressed
    | ImagePullEnded
)


def count_sequences(report: Report) -> int:
    """How many numbers, and so how many sequences, the report takes."""
    match report:
        case Output(chunks):
            return len(chunks)
        case OutputCut(items):
            return items
        case (
            ProcessStarted()
            | ProcessEnded()
            | ProcessFailed()
            | StepStarted()
            | StepEnded()
            | Alive()
            | TerminalResized()
            | CloneStarted()
            | CloneProgressed()
            | CloneEnded()
            | CloneFailed()
            | Remark()
            | ContainerCreated()
            | ContainerRemoved()
            | ImagePullStarted()
            | ImagePullProgressed()
            | ImagePullEnded()
        ):
            return 1
        case _:
            assert_never(report)


def without_first(report: Report, skip: int) -> Report:
    """The report without its first `skip` numbers; 0 <= skip < width(report)."""
    assert 0 <= skip < count_sequences(report)
    match report:
        case Output(chunks, step):
            return Output(chunks[skip:], step)
        case OutputCut(items, size):
            return OutputCut(items - skip, size)
        case _:
            return report
