"""How the entries of a watched job are shown.

    Passing    output to our standard output and error, as the command wrote it,
               and a remark on standard error about whatever else a person would miss
    Raw        output alone, of both streams, in order
    JsonLines  every event as a line of JSON

A remark, and a marker of a group, begins a line of its own: where output has left a line unended, a
newline goes before it. All other output stays as it is.
"""

import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol
from uuid import uuid4

from airunner.cli.render.ci_groups import Markers, markers
from airunner.cli.render.events import last_line, remark
from airunner.cli.render.step_lines import begun, ended, skipped
from airunner.cli.render.streams import STDERR, STDOUT, StdoutClosed, colourful, note, send, write
from airunner.model.job_events import ArtifactStored, JobEvent, JobFinished, JobLeased, JobReturned
from airunner.model.jobs import Instant, JobState, Reason
from airunner.model.reports import (
    CloneFailed,
    Output,
    ProcessFailed,
    StepEnded,
    StepStarted,
    Stream,
)
from airunner.model.steps import StepStatus
from airunner.wire.json.events import event_json

Pause = Callable[[Instant], Awaitable[None]]
Total = Callable[[], Awaitable[int | None]]  # of a job's steps; None: not known


class Show(Protocol):
    async def __call__(self, entry: JobEvent) -> None: ...

    def remark(self, text: str) -> None:
        """A line on standard error about what is going on."""
        ...


async def at_once(at: Instant) -> None:
    """No pause: as fast as it comes."""


async def not_known() -> int | None:
    """Nobody knows how many steps there are."""
    return None


class PassThrough:
    """Output where the command sent it. `until_closed`: a closed pipe ends the watching."""

    def __init__(
        self,
        *,
        until_closed: bool,
        pause: Pause = at_once,
        total: Total = not_known,
        markers: Markers | None = None,
        colour: bool = False,
    ) -> None:
        self._until_closed = until_closed
        self._pause = pause
        self._ask_total = total
        self._total: int | None = None
        self._asked = False
        self._colour = colour
        self._closed = False
        self._lines = _Lines()
        self._groups = None if markers is None else _Groups(markers, self._mark)
        self.told = ""  # the last error that remarks were made of
        self.kept = 0  # artifacts of the latest attempt
        self.kept_bytes = 0

    async def __call__(self, entry: JobEvent) -> None:
        match entry.what:
            case Output(chunks):
                for chunk in chunks:
                    await self._pause(chunk.at)
                    descriptor = STDERR if chunk.stream is Stream.STDERR else STDOUT
                    await self._pass(descriptor, chunk.data)
            case StepStarted() | StepEnded():
                await self._show_step(entry, entry.what)
            case ArtifactStored(artifact):
                self.kept, self.kept_bytes = self.kept + 1, self.kept_bytes + artifact.size
            case what:
                if isinstance(what, JobLeased):
                    self.kept = self.kept_bytes = 0
                if isinstance(what, JobReturned | JobFinished) and self._groups:
                    await self._groups.end(entry.at, well=False)
                if isinstance(what, ProcessFailed | CloneFailed):
                    self.told = last_line(what)
                if (text := remark(what)) is not None:
                    self.remark(text)
                if isinstance(what, JobFinished) and what.state is not JobState.COMPLETED:
                    if what.outcome.reason is Reason.ARTIFACTS_FAILED:
                        self.told = what.outcome.error  # a remark for each thing that went wrong
                    self._tell_skipped(what)

    def remark(self, text: str) -> None:
        if self._lines.begin(STDERR):
            _write(b"\n")
        note(text)

    async def _show_step(self, entry: JobEvent, what: StepStarted | StepEnded) -> None:
        if not self._asked:
            self._asked, self._total = True, await self._ask_total()
        if isinstance(what, StepEnded):
            if self._colour:
                _write(b"\x1b[0m")  # the step may have left a colour on
            if self._groups:
                await self._groups.end(entry.at, well=what.status is StepStatus.SUCCESS)
            self.remark(ended(what, self._total, colour=self._colour))
        elif self._groups:
            await self._groups.begin(entry, what)
        else:
            self.remark(begun(what, self._total, colour=self._colour))

    def _tell_skipped(self, end: JobFinished) -> None:
        if (text := skipped(end.outcome.steps, colour=self._colour)) is not None:
            self.remark(text)

    async def _mark(self, line: str) -> None:
        """A line of ours between those of the output."""
        before = "\n" if self._lines.begin(STDOUT, beside=True) else ""
        await self._pass(STDOUT, f"{before}{line}\n".encode())

    async def _pass(self, descriptor: int, data: bytes) -> None:
        if not data or (self._closed and descriptor == STDOUT):
            return
        try:
            await send(descriptor, data)
        except StdoutClosed:
            if self._until_closed:
                raise
            self._closed = True  # the job goes on, and its exit code is still wanted
        except OSError:
            pass  # nobody reads standard error: nobody to tell
        else:
            self._lines.passed(descriptor, data)


def _write(data: bytes) -> None:
    """To standard error, which somebody may read."""
    with suppress(OSError):
        write(STDERR, data)


class _Groups:
    """At most one is open."""

    def __init__(self, markers: Markers, mark: Callable[[str], Awaitable[None]]) -> None:
        self._markers = markers
        self._mark = mark
        self._run = uuid4().hex[:8]  # one log of a CI system may have several jobs of ours in it
        self._open: tuple[str, str] | None = None  # its section and name

    async def begin(self, entry: JobEvent, step: StepStarted) -> None:
        await self.end(entry.at, well=True)
        section = f"airunner_{self._run}_{entry.attempt}_{step.index}"
        name = step.name or f"step {step.index + 1}"
        self._open = section, name
        await self._mark(self._markers.begin(section, name, entry.at))

    async def end(self, at: Instant, *, well: bool) -> None:
        if self._open is None:
            return
        (section, name), self._open = self._open, None
        if line := self._markers.end(section, name, at, well=well):
            await self._mark(line)


class _Lines:
    """Whether what was passed on has left a line unended.

    Two streams that go to the same terminal, pipe or file have their lines in common. Two that do not
    may still be read as one, so a marker is careful about either.
    """

    def __init__(self) -> None:
        try:
            self._in_common = os.path.sameopenfile(STDOUT, STDERR)
        except OSError:
            self._in_common = False
        self._unended = set[int]()
        self._last_unended = False

    def passed(self, descriptor: int, data: bytes) -> None:
        self._last_unended = not data.endswith(b"\n")
        change = self._unended.add if self._last_unended else self._unended.discard
        change(STDOUT if self._in_common else descriptor)

    def begin(self, descriptor: int, *, beside: bool = False) -> bool:
        """Whether it takes a newline for what is said there to begin a line, which it then does.

        `beside`: also behind the other stream, if that was the last to say something.
        """
        where = STDOUT if self._in_common else descriptor
        unended = where in self._unended or (beside and self._last_unended)
        self._unended.discard(where)
        self._last_unended = False
        return unended


class Raw:
    """The output bytes alone."""

    def __init__(self, *, pause: Pause) -> None:
        self._pause = pause

    async def __call__(self, entry: JobEvent) -> None:
        if isinstance(entry.what, Output):
            for chunk in entry.what.chunks:
                await self._pause(chunk.at)
                await send(STDOUT, chunk.data)

    def remark(self, text: str) -> None:
        note(text)


class JsonLines:
    """Everything, for programs."""

    def __init__(self, *, pause: Pause) -> None:
        self._pause = pause

    async def __call__(self, entry: JobEvent) -> None:
        instants = (
            [chunk.at for chunk in entry.what.chunks] if isinstance(entry.what, Output) else []
        )
        for index, line in enumerate(event_json(entry)):
            if index < len(instants):
                await self._pause(instants[index])
            await send(STDOUT, json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def remark(self, text: str) -> None:
        note(text)


def passing(
    *,
    until_closed: bool,
    total: Total,
    group_markers: bool = False,
    pause: Pause = at_once,
) -> PassThrough:
    """Passing as our terminal or the CI system that runs us wants it."""
    return PassThrough(
        until_closed=until_closed,
        pause=pause,
        total=total,
        markers=markers(os.environ) if group_markers else None,
        colour=colourful(STDERR, os.environ.get("NO_COLOR")),
    )
