"""Splits output into lines, independent of the chunks in which it was read.

Rules
- Each stream is split by itself. A line is returned when it is complete, so lines of two streams
  come in the order of their ends.
- A newline ends a line. A carriage return ends a line too: terminals write it before a newline,
  progress bars instead of one. `\\r\\n` and `\\r\\r\\n` are one end. A carriage return at the start
  of a line ends nothing.
- The end of a step or of an attempt ends an incomplete line.
- A line longer than LINE_BYTES_MAX is returned in pieces of that size, each as a line.
- Bytes are never changed, UTF-8 or not.
"""

from collections.abc import Iterator
from typing import Final

from airunner.model.job_events import JobEvent, JobFinished, JobLeased, JobReturned
from airunner.model.jobs import Instant
from airunner.model.limits import LINE_BYTES_MAX
from airunner.model.reports import Chunk, Output, StepEnded, StepStarted, Stream

_ENDS: Final = b"\r\n"

Line = tuple[Stream, bytes]  # without the line end
TimedLine = tuple[Instant, Line]  # by the worker's clock: when the first byte was read


class LineBuffer:
    """Splits one stream. Holds at most one incomplete line, of at most `size_max` bytes."""

    def __init__(self, size_max: int = LINE_BYTES_MAX) -> None:
        self._size_max = size_max
        self._line = bytearray()  # the incomplete line
        self._returned = False  # a carriage return ended the previous line

    @property
    def incomplete(self) -> bool:
        """Whether there is an incomplete line."""
        return bool(self._line)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that the data completes."""
        for piece in data.splitlines(keepends=True):
            text = piece.rstrip(_ENDS)
            if text:
                self._returned = False
                yield from self._append(text)
            if piece.endswith(b"\n"):
                yield from self._end(returned=False, bare=not text)
            elif len(piece) > len(text) and self._line:
                yield from self._end(returned=True, bare=False)

    def flush(self) -> Iterator[bytes]:
        """Ends the incomplete line, if there is any, and returns it."""
        self._returned = False
        if self._line:
            yield self._pop_line()

    def _append(self, text: bytes) -> Iterator[bytes]:
        at = 0
        while len(self._line) + len(text) - at > self._size_max:
            room = self._size_max - len(self._line)
            self._line += text[at : at + room]
            at += room
            yield self._pop_line()
        self._line += text[at:]

    def _end(self, *, returned: bool, bare: bool) -> Iterator[bytes]:
        if not (bare and self._returned):  # otherwise the newline belongs to the carriage return
            yield self._pop_line()
        self._returned = returned

    def _pop_line(self) -> bytes:
        line = bytes(self._line)
        self._line.clear()
        return line


class LineSplitter:
    """Splits the output of one job, both streams."""

    def __init__(self, size_max: int = LINE_BYTES_MAX) -> None:
        self._streams = {stream: LineBuffer(size_max) for stream in Stream}
        self._began: dict[Stream, Instant] = {}  # incomplete lines
        self._step: int | None = None

    def split(self, event: JobEvent) -> Iterator[Line]:
        """The lines that an event completes. Events must come in order."""
        return (line for _, line in self.split_timed(event))

    def split_timed(self, event: JobEvent) -> Iterator[TimedLine]:
        """As split(), each line with the time of its first byte."""
        match event.body:
            case Output(chunks, step):
                if step != self._step:
                    yield from self.flush_timed()
                    self._step = step
                for chunk in chunks:
                    yield from self._feed(chunk)
            case StepStarted() | StepEnded() | JobLeased() | JobReturned() | JobFinished():
                yield from self.flush_timed()

    def flush(self) -> Iterator[Line]:
        """Ends the incomplete lines of both streams, and returns them."""
        return (line for _, line in self.flush_timed())

    def flush_timed(self) -> Iterator[TimedLine]:
        """As flush(), each line with the time of its first byte."""
        for stream, buffer in self._streams.items():
            for line in buffer.flush():
                yield self._began.pop(stream), (stream, line)

    def _feed(self, chunk: Chunk) -> Iterator[TimedLine]:
        began = self._began.pop(chunk.stream, chunk.at)
        buffer = self._streams[chunk.stream]
        for line in buffer.feed(chunk.data):
            yield began, (chunk.stream, line)
            began = chunk.at
        if buffer.incomplete:
            self._began[chunk.stream] = began
