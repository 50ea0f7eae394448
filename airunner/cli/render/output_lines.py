"""Lines of jobs' output, as `airunner logs` prints them.

A line of standard output goes to standard output, and one of standard error to standard error; or,
with a prefix, to standard output too, and the last line of a job is EXIT: and its exit code.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Protocol

from airunner.cli.exit_codes import exit_code
from airunner.cli.render.events import remark
from airunner.cli.render.line_splitter import Line, Lines
from airunner.cli.render.streams import STDERR, STDOUT, note, send
from airunner.cli.render.views import JsonLines, Show, at_once
from airunner.model.job_events import JobEvent, JobFinished
from airunner.model.reports import Output, OutputCut, StepStarted, Stream

Piece = tuple[int, bytes]  # what goes to a descriptor


class Printed:
    """How lines are printed; `prefix` of those of standard error, None: they go there."""

    def __init__(self, prefix: str | None) -> None:
        self._prefix = None if prefix is None else prefix.encode(errors="surrogateescape")

    def lines(self, lines: Iterable[Line], head: bytes = b"") -> Iterator[Piece]:
        """With something of our own at the head of each."""
        for stream, line in lines:
            if stream is Stream.STDOUT:
                yield STDOUT, b"%b%b\n" % (head, line)
            elif self._prefix is None:
                yield STDERR, b"%b%b\n" % (head, line)
            else:
                yield STDOUT, b"%b%b%b\n" % (head, self._prefix, line)

    def end(self, ended: JobFinished, head: bytes = b"") -> Iterator[Piece]:
        """The last line of a job."""
        if self._prefix is not None:
            yield STDOUT, b"%bEXIT:%d\n" % (head, exit_code(ended.state, ended.outcome))


async def put(pieces: Iterable[Piece]) -> None:
    """Write them in their order, those together that follow each other to one place."""
    for descriptor, run in groupby(pieces, itemgetter(0)):
        data = b"".join(piece for _, piece in run)
        if descriptor == STDOUT:
            await send(STDOUT, data)
        else:
            with suppress(OSError):  # nobody reads standard error: nobody to tell
                await send(STDERR, data)


class Choice:
    """Which entries belong to what is wanted: all, or a step by its number or its name.

    The first step has the number 1, as people are shown it.
    """

    def __init__(self, step: str | None) -> None:
        self.step = step
        self._indices = set[int]()
        if step is not None and step.isascii() and step.isdecimal():
            self._indices.add(int(step) - 1)
        self.met = step is None  # whether there was something of it

    def __call__(self, entry: JobEvent) -> bool:
        """Whether to show it; entries come in their order."""
        if self.step is None:
            return True
        if isinstance(entry.what, StepStarted):
            if entry.what.name == self.step:
                self._indices.add(entry.what.index)
            self.met = self.met or entry.what.index in self._indices
        return not isinstance(entry.what, Output) or entry.what.step in self._indices


class ShowOne(Show, Protocol):
    """How one job's log is printed."""

    kinds: tuple[str, ...]  # of the events that it needs, besides our own

    async def finish(self) -> None:
        """Nothing more will be read."""
        ...


class ByLine:
    """Line by line."""

    kinds: tuple[str, ...] = ("output",)

    def __init__(self, printed: Printed, choice: Choice) -> None:
        self._printed = printed
        self._choice = choice
        self._lines = Lines()

    async def __call__(self, entry: JobEvent) -> None:
        if self._choice(entry):
            await put(self._printed.lines(self._lines.of(entry)))
        match entry.what:
            case OutputCut() as cut:
                self.remark(remark(cut) or "")
            case JobFinished() as ended:
                await put(self._printed.end(ended))
            case _:
                pass

    async def finish(self) -> None:
        await put(self._printed.lines(self._lines.rest()))

    def remark(self, text: str) -> None:
        note(text)


class ByteForByte:
    """Both streams as they are, in the order in which they were read."""

    kinds: tuple[str, ...] = ("output",)

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    async def __call__(self, entry: JobEvent) -> None:
        wanted = self._choice(entry)
        match entry.what:
            case Output(chunks) if wanted:
                await put((STDOUT, chunk.data) for chunk in chunks)
            case OutputCut() as cut:
                self.remark(remark(cut) or "")
            case _:
                pass

    async def finish(self) -> None:
        pass

    def remark(self, text: str) -> None:
        note(text)


class Events(JsonLines):
    """Every event as a line of JSON."""

    kinds: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__(pause=at_once)

    async def finish(self) -> None:
        pass
