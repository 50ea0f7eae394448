"""Output as lines, whatever the pieces in which it was read.

Rules
- Each stream is assembled by itself; a line is told when it is complete, so lines of two streams
  come in the order in which they were completed.
- A newline ends a line, and so does a carriage return, which terminals write before one and
  progress bars instead of one: `\\r\\n`, and `\\r\\r\\n`, are one end. A carriage return at the
  beginning of a line ends nothing.
- What is unended when its step or its attempt is over is a line too.
- A line longer than LINE_BYTES_MAX is told in pieces of that size, each as a line.
- Bytes stay as they are, UTF-8 or not.
"""

from collections.abc import Iterator
from typing import Final

from airunner.model.job_events import JobEvent, JobFinished, JobLeased, JobReturned
from airunner.model.limits import LINE_BYTES_MAX
from airunner.model.reports import Output, StepEnded, StepStarted, Stream

_ENDS: Final = b"\r\n"

Line = tuple[Stream, bytes]  # without its end


class LineBuffer:
    """One stream. Holds no more than one line, and no more than `size_max` bytes of it."""

    def __init__(self, size_max: int = LINE_BYTES_MAX) -> None:
        self._size_max = size_max
        self._line = bytearray()  # what there is of it
        self._returned = False  # the line before was ended by a carriage return

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that this completes."""
        for piece in data.splitlines(keepends=True):
            text = piece.rstrip(_ENDS)
            if text:
                self._returned = False
                yield from self._add(text)
            if piece.endswith(b"\n"):
                yield from self._end(returned=False, bare=not text)
            elif len(piece) > len(text) and self._line:
                yield from self._end(returned=True, bare=False)

    def rest(self) -> Iterator[bytes]:
        """What was not ended, if there is something; nothing more belongs to it."""
        self._returned = False
        if self._line:
            yield self._take()

    def _add(self, text: bytes) -> Iterator[bytes]:
        at = 0
        while len(self._line) + len(text) - at > self._size_max:
            room = self._size_max - len(self._line)
            self._line += text[at : at + room]
            at += room
            yield self._take()
        self._line += text[at:]

    def _end(self, *, returned: bool, bare: bool) -> Iterator[bytes]:
        if not (bare and self._returned):  # else this newline belongs to the return before it
            yield self._take()
        self._returned = returned

    def _take(self) -> bytes:
        line = bytes(self._line)
        self._line.clear()
        return line


class Lines:
    """One job's."""

    def __init__(self, size_max: int = LINE_BYTES_MAX) -> None:
        self._streams = {stream: LineBuffer(size_max) for stream in Stream}
        self._step: int | None = None

    def of(self, entry: JobEvent) -> Iterator[Line]:
        """The lines that an entry completes; entries come in their order."""
        match entry.what:
            case Output(chunks, step):
                if step != self._step:
                    yield from self.rest()
                    self._step = step
                for chunk in chunks:
                    for line in self._streams[chunk.stream].feed(chunk.data):
                        yield chunk.stream, line
            case StepStarted() | StepEnded() | JobLeased() | JobReturned() | JobFinished():
                yield from self.rest()

    def rest(self) -> Iterator[Line]:
        """What is unended in either stream."""
        for stream, assembly in self._streams.items():
            for line in assembly.rest():
                yield stream, line
