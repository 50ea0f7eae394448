"""The reports of a worker on a running attempt: output, progress, process and step events.

A worker numbers its reports 1, 2, 3 ... within each attempt, so that a report that is
sent twice is stored once. An Output takes one number for each of its chunks, an OutputCut
`items` numbers, any other report one (count_sequences()). The server assigns as many
sequences of the job's event stream.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, assert_never, get_args

from airunner.model.jobs import Instant, Millis
from airunner.model.steps import StepStatus


class Stream(StrEnum):
    """The standard stream to which a command wrote."""

    STDOUT = "stdout"  # also all output to a pseudo-terminal
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of output from one read of a stream; `at` is the time by the worker's clock."""

    stream: Stream
    data: bytes
    at: Instant


@dataclass(frozen=True, slots=True)
class Output:
    """Output chunks in the order in which the worker read them; at least one."""

    chunks: tuple[Chunk, ...]
    step: int | None = None  # index of the step that wrote the output, in a job of steps

    @property
    def size(self) -> int:
        """The number of bytes of output."""
        return sum(len(chunk.data) for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class OutputCut:
    """Marks output that the log does not hold: a limit was reached, or retention removed it.

    The cut takes `items` sequences, as many as the missing output, so that the event stream
    has no gap.
    """

    items: int
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """The command's process started."""

    pid: int
    started_at: Instant


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """The command's process ended."""

    pid: int
    exit_code: int  # 128 + signal if a signal killed the process
    duration: Millis


@dataclass(frozen=True, slots=True)
class ProcessFailed:
    """The command could not be started."""

    error: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step of the job started."""

    index: int  # 0, 1, 2 ...
    name: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step of the job ended, and none of its processes is left."""

    index: int
    name: str
    status: StepStatus
    exit_code: int | None  # None: the step could not be started, or did not end by itself
    duration: Millis


@dataclass(frozen=True, slots=True)
class Alive:
    """A heartbeat that a worker of the published contract writes to the job's log."""

    elapsed: Millis
    alive: bool


@dataclass(frozen=True, slots=True)
class TerminalResized:
    """The size of the job's terminal changed."""

    columns: int
    rows: int
    width_pixels: int = 0
    height_pixels: int = 0


@dataclass(frozen=True, slots=True)
class CloneStarted:
    """The clone of the job's repository started."""

    repository: str
    commit: str
    branch: str
    started_at: Instant


@dataclass(frozen=True, slots=True)
class CloneProgressed:
    """The progress of a clone, as a line of git's output: `Receiving objects:  45% (9/20)`."""

    message: str


@dataclass(frozen=True, slots=True)
class CloneEnded:
    """The clone succeeded."""

    commit: str  # full id of the checked-out commit
    duration: Millis
    directory: str


@dataclass(frozen=True, slots=True)
class CloneFailed:
    """The clone failed."""

    error: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A message of the worker about the attempt, for readers of the log."""

    message: str


@dataclass(frozen=True, slots=True)
class ContainerCreated:
    """The job's container was created."""

    container: str
    image: str
    created_at: Instant


@dataclass(frozen=True, slots=True)
class ContainerRemoved:
    """The job's container was removed."""

    container: str
    removed_at: Instant


@dataclass(frozen=True, slots=True)
class ImagePullStarted:
    """The pull of the container's image started."""

    image: str
    started_at: Instant


@dataclass(frozen=True, slots=True)
class ImagePullProgressed:
    """The progress of an image pull."""

    image: str
    status: str
    current: int  # bytes
    total: int  # bytes


@dataclass(frozen=True, slots=True)
class ImagePullEnded:
    """The image pull succeeded."""

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


# The names of the texts of each kind of report.
TEXTS: Final = {
    kind: tuple(each.name for each in fields(kind) if each.type is str) for kind in get_args(Report)
}


def text_size(report: Report) -> int:
    """The number of characters in the texts of a report."""
    return sum(len(getattr(report, name)) for name in TEXTS[type(report)])


def count_sequences(report: Report) -> int:
    """The number of report numbers, and so of sequences, that the report takes."""
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
    """The report without its first `skip` numbers; 0 <= skip < count_sequences(report)."""
    assert 0 <= skip < count_sequences(report)
    match report:
        case Output(chunks, step):
            return Output(chunks[skip:], step)
        case OutputCut(items, size):
            return OutputCut(items - skip, size)
        case _:
            return report
