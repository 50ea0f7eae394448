"""Watching a job until its end: what submit and monitor do alike.

    Passing    output to our standard output and error, as the command wrote it,
               and a remark on standard error about whatever else a person would miss
    Raw        output alone, of both streams, in order
    JsonLines  every event as a line of JSON

The stream is proved as it comes: each entry begins where the last one ended, over
all reconnections, or the command fails rather than show a log with a hole.
While the job is in line, a second task asks every few seconds why, and says so
when the answer has changed.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from airunner.cli.entries_shown import entry_json, last_line, remark
from airunner.cli.exits import CommandFailed, exit_code
from airunner.cli.output import STDERR, STDOUT, StdoutClosed, note, send
from airunner.cli.rendering import ending
from airunner.entries import BackInLine, Ended, Entry, Taken
from airunner.errors import Refused
from airunner.jobs import Instant, JobId, JobState, Reason
from airunner.reports import CloneFailed, Output, ProcessFailed, Stream
from airunner.wire.client import JobsClient
from airunner.wire.follow import follow

EXPLAIN_FIRST_SECONDS: Final = 0.7  # a job that starts at once needs no explanation
EXPLAIN_SECONDS: Final = 3.0

Show = Callable[[Entry], Awaitable[None]]


class Passing:
    """Output where the command sent it. `until_closed`: a closed pipe ends the watching."""

    def __init__(self, *, until_closed: bool, pause: Callable[[Instant], Awaitable[None]]) -> None:
        self._until_closed = until_closed
        self._pause = pause
        self._closed = False
        self.told = ""  # the last error of which a remark was made

    async def __call__(self, entry: Entry) -> None:
        if not isinstance(entry.what, Output):
            if isinstance(entry.what, ProcessFailed | CloneFailed):
                self.told = last_line(entry.what)
            if (text := remark(entry.what)) is not None:
                note(text)
            return
        for chunk in entry.what.chunks:
            await self._pause(chunk.at)
            await self._pass(STDERR if chunk.stream is Stream.STDERR else STDOUT, chunk.data)

    async def _pass(self, descriptor: int, data: bytes) -> None:
        if self._closed and descriptor == STDOUT:
            return
        try:
            await send(descriptor, data)
        except StdoutClosed:
            if self._until_closed:
                raise
            self._closed = True  # the job goes on, and its exit code is still wanted
        except OSError:
            pass  # nobody reads standard error: nobody to tell


class Raw:
    """The output bytes alone."""

    def __init__(self, *, pause: Callable[[Instant], Awaitable[None]]) -> None:
        self._pause = pause

    async def __call__(self, entry: Entry) -> None:
        if isinstance(entry.what, Output):
            for chunk in entry.what.chunks:
                await self._pause(chunk.at)
                await send(STDOUT, chunk.data)


class JsonLines:
    """Everything, for programs."""

    def __init__(self, *, pause: Callable[[Instant], Awaitable[None]]) -> None:
        self._pause = pause

    async def __call__(self, entry: Entry) -> None:
        instants = (
            [chunk.at for chunk in entry.what.chunks] if isinstance(entry.what, Output) else []
        )
        for index, line in enumerate(entry_json(entry)):
            if index < len(instants):
                await self._pause(instants[index])
            await send(STDOUT, json.dumps(line, ensure_ascii=False).encode() + b"\n")


async def at_once(at: Instant) -> None:
    """No pause: as fast as it comes."""


async def watch(
    jobs: JobsClient, id: JobId, show: Show, *, from_sequence: int = 1, known: bool = False
) -> int:
    """Show a job's entries until it has ended; the exit code that stands for its end.

    `known`: the server has just told of the job, so that it is worth a wait for it.
    """
    in_line = asyncio.Event()
    in_line.set()
    async with asyncio.TaskGroup() as tasks:
        explaining = tasks.create_task(_explain(jobs, id, in_line))
        ended = await _read(jobs, id, show, from_sequence, in_line, known)
        explaining.cancel()
    if ended.state is not JobState.COMPLETED and ended.outcome.reason is not Reason.EXITED:
        told = show.told if isinstance(show, Passing) else ""
        note(f"job {id} {ending(ended.state, ended.outcome, told)}")
    if not ended.outcome.log_complete:
        note(f"the worker could not deliver all output of job {id}")
    return exit_code(ended.state, ended.outcome)


async def _read(
    jobs: JobsClient, id: JobId, show: Show, start: int, in_line: asyncio.Event, known: bool
) -> Ended:
    expected = start
    entries = follow(
        jobs,
        id,
        from_sequence=start,
        known=known,
        lost=lambda refusal: note(f"{refusal}; trying again"),
    )
    async with aclosing(entries):
        async for entry in entries:
            if entry.first != expected and not (entry.first <= expected <= entry.last):
                raise CommandFailed(
                    f"the server sent event {entry.first} of job {id} where {expected} follows: "
                    f"try `airunner monitor {id} --from-sequence {expected}`"
                )
            expected = entry.last + 1
            if isinstance(entry.what, Taken):
                in_line.clear()
            elif isinstance(entry.what, BackInLine):
                in_line.set()
            await show(entry)
            if isinstance(entry.what, Ended):
                return entry.what
    raise CommandFailed(f"job {id} has ended, and has no events from sequence {start} on")


async def _explain(jobs: JobsClient, id: JobId, in_line: asyncio.Event) -> None:
    said = ""
    await asyncio.sleep(EXPLAIN_FIRST_SECONDS)
    while True:
        await in_line.wait()
        try:
            _, waiting = await jobs.get(id)
        except Refused:
            waiting = None  # whoever reads the stream tells of it
        if waiting is not None and waiting.explanation != said:
            said = waiting.explanation
            note(f"waiting: {said}")
        await asyncio.sleep(EXPLAIN_SECONDS)
