"""The lines that `airunner logs` prints.

Lines of standard output go to standard output, lines of standard error to standard error. With
--prefix-stderr, all lines go to standard output: the prefix marks lines of standard error, and the
last line of a job is `EXIT:` and its exit code.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Final, Protocol

from airunner.cli.exit_codes import exit_code
from airunner.cli.render.events import remark
from airunner.cli.render.line_splitter import LineSplitter, TimedLine
from airunner.cli.render.streams import STDERR, STDOUT, note, send
from airunner.cli.render.views import JobView, JsonView, no_pause
from airunner.model.job_events import JobEvent, JobFinished
from airunner.model.jobs import Instant
from airunner.model.reports import Output, OutputCut, StepStarted, Stream
from airunner.model.units import show_time

_DIGITS_MAX: Final = 9  # of the number of a step; a longer one is a name

Piece = tuple[int, bytes]  # a file descriptor, and the bytes to write to it


class LineFormat:
    """How lines are printed.

    `prefix` marks lines of standard error. Without it they go to standard error, or to standard output
    unless `apart`. `timestamps`: each line begins with the time of its first byte.
    """

    def __init__(self, prefix: str | None, *, apart: bool = True, timestamps: bool = False) -> None:
        self._prefix = None if prefix is None else prefix.encode(errors="surrogateescape")
        self._stderr = STDERR if apart and prefix is None else STDOUT
        self._timestamps = timestamps

    def pieces(self, lines: Iterable[TimedLine], head: bytes = b"") -> Iterator[Piece]:
        """Output lines, each with `head` before it."""
        for at, (stream, line) in lines:
            begin = b"%b%b " % (head, show_time(at).encode()) if self._timestamps else head
            if stream is Stream.STDOUT:
                yield STDOUT, b"%b%b\n" % (begin, line)
            else:
                yield self._stderr, b"%b%b%b\n" % (begin, self._prefix or b"", line)

    def exit_piece(self, ended: JobFinished, head: bytes = b"") -> Iterator[Piece]:
        """The line with the job's exit code, if a prefix was asked for."""
        if self._prefix is not None:
            yield STDOUT, b"%bEXIT:%d\n" % (head, exit_code(ended.state, ended.outcome))


async def write_pieces(pieces: Iterable[Piece]) -> None:
    """Writes pieces in order, and joins neighbours that go to the same descriptor."""
    for descriptor, run in groupby(pieces, itemgetter(0)):
        data = b"".join(piece for _, piece in run)
        if descriptor == STDOUT:
            await send(STDOUT, data)
        else:
            with suppress(OSError):  # standard error is closed, so the failure cannot be reported
                await send(STDERR, data)


class StepFilter:
    """Selects the events of all steps, or of a single step by its number or its name.

    The first step has the number 1, as in the remarks that people read.
    """

    def __init__(self, step: str | None) -> None:
        self.step = step
        self._indices = set[int]()
        if step and len(step) <= _DIGITS_MAX and step.isascii() and step.isdecimal():
            self._indices.add(int(step) - 1)
        self.matched = step is None  # whether the step has started

    def __call__(self, event: JobEvent) -> bool:
        """Whether to show an event. Events must come in order."""
        if self.step is None:
            return True
        if isinstance(event.body, StepStarted):
            if event.body.name == self.step:
                self._indices.add(event.body.index)
            self.matched = self.matched or event.body.index in self._indices
        return not isinstance(event.body, Output) or event.body.step in self._indices


class LogView(JobView, Protocol):
    """Prints the log of one job."""

    kinds: tuple[str, ...]  # published kinds of events to ask for, beside airunner's own; (): all

    async def end_tail(self) -> None:
        """Prints the last lines of the stored output. Called after the last stored event."""
        ...

    async def finish(self) -> None:
        """Prints lines without an end. Called after the last event."""
        ...


class LineView:
    """Prints output line by line: all lines, the lines since a time, or the last lines.

    With `tail`, nothing is printed before end_tail() or the end of the job.
    """

    kinds: tuple[str, ...] = ("output",)

    def __init__(
        self,
        format: LineFormat,
        filter: StepFilter,
        *,
        since: Instant | None = None,
        tail: int | None = None,
    ) -> None:
        self._format = format
        self._filter = filter
        self._since = since
        self._splitter = LineSplitter()
        # Lines, and remarks about output that was cut between them.
        self._tail = None if tail is None else deque[TimedLine | str](maxlen=tail)

    async def show(self, event: JobEvent) -> None:
        if self._filter(event):
            await self._print(self._splitter.split_timed(event))
        match event.body:
            case OutputCut() as cut if self._since is None or event.at >= self._since:
                text = remark(cut) or ""
                if self._tail is None:
                    self.remark(text)
                else:
                    self._tail.append(text)
            case JobFinished() as ended:
                await self.end_tail()
                await write_pieces(self._format.exit_piece(ended))
            case _:
                pass

    async def _print(self, lines: Iterable[TimedLine]) -> None:
        wanted = (line for line in lines if self._since is None or line[0] >= self._since)
        if self._tail is None:
            await write_pieces(self._format.pieces(wanted))
        else:
            self._tail.extend(wanted)

    async def end_tail(self) -> None:
        kept, self._tail = self._tail or (), None
        for each in kept:
            if isinstance(each, str):
                self.remark(each)
            else:
                await write_pieces(self._format.pieces((each,)))

    async def finish(self) -> None:
        await self._print(self._splitter.flush_timed())
        await self.end_tail()

    def remark(self, text: str) -> None:
        note(text)


class ByteView:
    """Prints the bytes of both streams to standard output, in the order in which they were read."""

    kinds: tuple[str, ...] = ("output",)

    def __init__(self, filter: StepFilter) -> None:
        self._filter = filter

    async def show(self, event: JobEvent) -> None:
        wanted = self._filter(event)
        match event.body:
            case Output(chunks) if wanted:
                await write_pieces((STDOUT, chunk.data) for chunk in chunks)
            case OutputCut() as cut:
                self.remark(remark(cut) or "")
            case _:
                pass

    async def end_tail(self) -> None:
        pass

    async def finish(self) -> None:
        pass

    def remark(self, text: str) -> None:
        note(text)


class EventView(JsonView):
    """Prints every event as a line of JSON."""

    kinds: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__(pause=no_pause)

    async def end_tail(self) -> None:
        pass
