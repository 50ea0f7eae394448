"""Follows the output of all jobs: `airunner logs --all --follow`.

Each line begins with the id of its job. The stream is checked for gaps, job by job: each event must
begin where the previous event of its job ended, otherwise the command fails. The stream of a job
that was running before the command starts in its middle.
"""

from collections.abc import Iterable, Iterator
from contextlib import aclosing
from typing import Protocol

from airunner.cli.exit_codes import CommandFailed
from airunner.cli.render.events import remark
from airunner.cli.render.line_splitter import LineSplitter
from airunner.cli.render.output_lines import LineFormat, Piece, write_pieces
from airunner.cli.render.streams import STDOUT, note
from airunner.cli.render.terminal_text import json_line
from airunner.model.errors import DataLoss, Refused
from airunner.model.job_events import JobEvent, JobFinished, without_before
from airunner.model.jobs import JobId
from airunner.model.reports import Output, OutputCut
from airunner.wire.client.follow import follow_all
from airunner.wire.client.jobs_client import JobsClient
from airunner.wire.json.events import JobEventsJson
from airunner.wire.json.times import Json


class AllJobsView(Protocol):
    """Turns the events of all jobs into text."""

    def pieces(self, id: JobId, event: JobEvent) -> Iterable[Piece]:
        """The text for an event. The events of each job must come in order."""
        ...

    def flush(self) -> Iterable[Piece]:
        """Ends the incomplete lines of all jobs. Called when the stream starts anew."""
        ...


class AllJobsLines:
    """The output of all jobs as lines, split for each job separately."""

    def __init__(self, format: LineFormat) -> None:
        self._format = format
        self._splitters: dict[JobId, LineSplitter] = {}  # of running jobs that have written output

    def pieces(self, id: JobId, event: JobEvent) -> Iterator[Piece]:
        head = f"{id} ".encode()
        if isinstance(event.body, Output):
            self._splitters.setdefault(id, LineSplitter())
        if (lines := self._splitters.get(id)) is not None:
            yield from self._format.pieces(lines.split_timed(event), head)
        match event.body:
            case JobFinished() as ended:
                self._splitters.pop(id, None)
                yield from self._format.exit_piece(ended, head)
            case OutputCut() as cut:
                note(f"{id}: {remark(cut)}")

    def flush(self) -> Iterator[Piece]:
        for id, lines in self._splitters.items():
            yield from self._format.pieces(lines.flush_timed(), f"{id} ".encode())
        self._splitters.clear()


class AllJobsJson:
    """Every event of all jobs as a line of JSON."""

    def __init__(self) -> None:
        self._jobs: dict[JobId, JobEventsJson] = {}  # jobs that have written output

    def pieces(self, id: JobId, event: JobEvent) -> Iterator[Piece]:
        if isinstance(event.body, Output):
            events = self._jobs.setdefault(id, JobEventsJson())
        else:
            events = self._jobs.get(id) or JobEventsJson()
        yield from (_json_piece(id, each) for each in events.objects(event))
        if isinstance(event.body, JobFinished):
            self._jobs.pop(id, None)

    def flush(self) -> Iterator[Piece]:
        for id, events in self._jobs.items():
            yield from (_json_piece(id, each) for each in events.flush())
        self._jobs.clear()


def _json_piece(id: JobId, found: Json) -> Piece:
    return STDOUT, json_line({"job": id, **found}).encode() + b"\n"


async def follow_all_jobs(jobs: JobsClient, view: AllJobsView, *, queue: str = "") -> None:
    """Shows the events of all jobs, or of the jobs of a queue, from now on. Never returns."""
    follower = _Follower(view)
    async with aclosing(follow_all(jobs, queue=queue, lost=_note_lost)) as stream:
        async for heard in stream:
            if heard.restarted:
                await write_pieces(view.flush())
                follower.reset()
                followed = f"the jobs of queue {queue}" if queue else "all jobs"
                note(f"following {followed} from now on")
            await write_pieces(follower.pieces(heard.events))


class _Follower:
    """Checks the stream for gaps, and drops events that were shown before."""

    def __init__(self, view: AllJobsView) -> None:
        self._view = view
        self._last: dict[JobId, int] = {}  # the last sequence of jobs that have not ended

    def reset(self) -> None:
        self._last.clear()

    def pieces(self, events: Iterable[tuple[JobId, JobEvent]]) -> Iterator[Piece]:
        for id, event in events:
            if (new := self._unseen(id, event)) is not None:
                yield from self._view.pieces(id, new)

    def _unseen(self, id: JobId, event: JobEvent) -> JobEvent | None:
        """The part of an event that was not shown before. A cut that has grown is shown whole."""
        last = self._last.get(id, event.first - 1)
        if event.first > last + 1:
            raise CommandFailed(
                f"the server sent event {event.first} of job {id} instead of event {last + 1}: "
                f"`airunner monitor {id}` reads the job from its beginning"
            )
        if event.last <= last:
            return None
        if isinstance(event.body, JobFinished):
            self._last.pop(id, None)
        else:
            self._last[id] = event.last
        return without_before(event, last + 1)


def _note_lost(refusal: Refused) -> None:
    note(f"{refusal}; {'going on from now' if isinstance(refusal, DataLoss) else 'trying again'}")
