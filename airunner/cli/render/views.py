"""Views: how a watching command prints the events of a job.

    PassThrough  output to the command's own standard output and error, byte for byte, and
                 remarks about other events on standard error
    RawView      output alone, both streams to standard output, in order
    JsonView     every event as a line of JSON

A remark or a group marker begins a new line: if output has left a line without an end, a newline
goes first. Output itself is never changed.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol
from uuid import uuid4

from airunner.cli.render.ci_groups import Markers, markers
from airunner.cli.render.events import last_line, remark
from airunner.cli.render.step_lines import skipped_line, step_ended_line, step_started_line
from airunner.cli.render.streams import STDERR, STDOUT, StdoutClosed, colourful, note, send, write
from airunner.cli.render.terminal_text import json_line
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
from airunner.wire.json.events import JobEventsJson

Pause = Callable[[Instant], Awaitable[None]]
StepCount = Callable[[], Awaitable[int | None]]  # asks how many steps a job has; None: unknown


class JobView(Protocol):
    """Prints the events of one job."""

    async def show(self, event: JobEvent) -> None: ...

    def remark(self, text: str) -> None:
        """Prints a line on standard error for a person."""
        ...


async def no_pause(at: Instant) -> None:
    """The pause of a view that prints output as soon as it arrives."""


async def unknown_step_count() -> int | None:
    """The step count of a job whose steps are unknown."""
    return None


class PassThrough:
    """Passes output through to standard output and error, and prints remarks about other events.

    `until_closed`: a closed standard output ends the command. Otherwise later output is dropped,
    and the command goes on for the job's exit code.
    """

    def __init__(
        self,
        *,
        until_closed: bool,
        pause: Pause = no_pause,
        count_steps: StepCount = unknown_step_count,
        markers: Markers | None = None,
        colour: bool = False,
    ) -> None:
        self._until_closed = until_closed
        self._pause = pause
        self._count_steps = count_steps
        self._step_count: int | None = None
        self._step_count_asked = False
        self._colour = colour
        self._stdout_closed = False
        self._line_starts = _LineStarts()
        self._step_groups = None if markers is None else _StepGroups(markers, self._write_marker)
        self.last_error = ""  # the last error that a remark has quoted
        self.artifacts = 0  # stored by the latest attempt
        self.artifact_bytes = 0

    async def show(self, event: JobEvent) -> None:
        match event.body:
            case Output(chunks):
                for chunk in chunks:
                    await self._pause(chunk.at)
                    descriptor = STDERR if chunk.stream is Stream.STDERR else STDOUT
                    await self._write_output(descriptor, chunk.data)
            case StepStarted() | StepEnded():
                await self._show_step(event, event.body)
            case ArtifactStored(artifact):
                self.artifacts += 1
                self.artifact_bytes += artifact.size
            case body:
                if isinstance(body, JobLeased):
                    self.artifacts = self.artifact_bytes = 0
                if isinstance(body, JobReturned | JobFinished) and self._step_groups:
                    await self._step_groups.end(event.at, well=False)
                if isinstance(body, ProcessFailed | CloneFailed):
                    self.last_error = last_line(body)
                if (text := remark(body)) is not None:
                    self.remark(text)
                if isinstance(body, JobFinished) and body.state is not JobState.COMPLETED:
                    if body.outcome.reason is Reason.ARTIFACTS_FAILED:
                        # Each failure has had its own remark.
                        self.last_error = body.outcome.error
                    self._note_skipped(body)

    def remark(self, text: str) -> None:
        if self._line_starts.start_line(STDERR):
            _write_stderr(b"\n")
        note(text)

    async def _show_step(self, event: JobEvent, body: StepStarted | StepEnded) -> None:
        if not self._step_count_asked:
            self._step_count_asked, self._step_count = True, await self._count_steps()
        if isinstance(body, StepEnded):
            if self._colour:
                _write_stderr(b"\x1b[0m")  # reset a colour that the step has left on
            if self._step_groups:
                await self._step_groups.end(event.at, well=body.status is StepStatus.SUCCESS)
            self.remark(step_ended_line(body, self._step_count, colour=self._colour))
        elif self._step_groups:
            await self._step_groups.begin(event, body)
        else:
            self.remark(step_started_line(body, self._step_count, colour=self._colour))

    def _note_skipped(self, end: JobFinished) -> None:
        if (text := skipped_line(end.outcome.steps, colour=self._colour)) is not None:
            self.remark(text)

    async def _write_marker(self, line: str) -> None:
        """Writes a marker on a line of its own between lines of output."""
        before = "\n" if self._line_starts.start_line(STDOUT, beside=True) else ""
        await self._write_output(STDOUT, f"{before}{line}\n".encode())

    async def _write_output(self, descriptor: int, data: bytes) -> None:
        if not data or (self._stdout_closed and descriptor == STDOUT):
            return
        try:
            await send(descriptor, data)
        except StdoutClosed:
            if self._until_closed:
                raise
            self._stdout_closed = True  # the job goes on, and the caller waits for its exit code
        except OSError:
            pass  # standard error is closed, so the failure cannot be reported
        else:
            self._line_starts.wrote(descriptor, data)


def _write_stderr(data: bytes) -> None:
    """Writes to standard error, and ignores a failure."""
    with suppress(OSError):
        write(STDERR, data)


class _StepGroups:
    """The groups of a CI system's log, one for each step. At most one group is open."""

    def __init__(self, markers: Markers, mark: Callable[[str], Awaitable[None]]) -> None:
        self._markers = markers
        self._write_marker = mark
        self._prefix = uuid4().hex[:8]  # a CI system's log may show several jobs of airunner
        self._open: tuple[str, str] | None = None  # section and name of the open group

    async def begin(self, event: JobEvent, step: StepStarted) -> None:
        await self.end(event.at, well=True)
        section = f"airunner_{self._prefix}_{event.attempt}_{step.index}"
        name = step.name or f"step {step.index + 1}"
        self._open = section, name
        await self._write_marker(self._markers.begin(section, name, event.at))

    async def end(self, at: Instant, *, well: bool) -> None:
        if self._open is None:
            return
        (section, name), self._open = self._open, None
        if line := self._markers.end(section, name, at, well=well):
            await self._write_marker(line)


class _LineStarts:
    """Tracks which streams are in the middle of a line.

    Two streams to the same terminal, pipe or file share their lines. Two streams to different
    files may still be shown as one text, so a marker looks at both.
    """

    def __init__(self) -> None:
        try:
            self._same_file = os.path.sameopenfile(STDOUT, STDERR)
        except OSError:
            self._same_file = False
        self._unended = set[int]()
        self._last_unended = False

    def wrote(self, descriptor: int, data: bytes) -> None:
        self._last_unended = not data.endswith(b"\n")
        change = self._unended.add if self._last_unended else self._unended.discard
        change(STDOUT if self._same_file else descriptor)

    def start_line(self, descriptor: int, *, beside: bool = False) -> bool:
        """True if a newline must be written first. Marks the line as started.

        `beside`: also true if the last write went to the other stream and ended without a newline.
        """
        where = STDOUT if self._same_file else descriptor
        unended = where in self._unended or (beside and self._last_unended)
        self._unended.discard(where)
        self._last_unended = False
        return unended


class RawView:
    """Prints the bytes of the output alone."""

    def __init__(self, *, pause: Pause) -> None:
        self._pause = pause

    async def show(self, event: JobEvent) -> None:
        if isinstance(event.body, Output):
            for chunk in event.body.chunks:
                await self._pause(chunk.at)
                await send(STDOUT, chunk.data)

    def remark(self, text: str) -> None:
        note(text)


class JsonView:
    """Prints every event as a line of JSON, for programs."""

    def __init__(self, *, pause: Pause) -> None:
        self._pause = pause
        self._json = JobEventsJson()

    async def show(self, event: JobEvent) -> None:
        found = list(self._json.objects(event))
        chunks = event.body.chunks if isinstance(event.body, Output) else ()
        for index, line in enumerate(found, len(chunks) - len(found)):
            if chunks and index >= 0:
                await self._pause(chunks[index].at)
            await send(STDOUT, json_line(line).encode() + b"\n")

    async def finish(self) -> None:
        """Prints the rest of output that ends within a character. Called after the last event."""
        for line in self._json.flush():
            await send(STDOUT, json_line(line).encode() + b"\n")

    def remark(self, text: str) -> None:
        note(text)


def pass_through(
    *,
    until_closed: bool,
    count_steps: StepCount,
    group_markers: bool = False,
    pause: Pause = no_pause,
) -> PassThrough:
    """A PassThrough for this process's terminal, or for the CI system that runs this process."""
    return PassThrough(
        until_closed=until_closed,
        pause=pause,
        count_steps=count_steps,
        markers=markers(os.environ) if group_markers else None,
        colour=colourful(STDERR, os.environ.get("NO_COLOR")),
    )
