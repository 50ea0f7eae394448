"""What all jobs write, as it comes: `airunner logs --all --follow`.

Each line is under the id of its job. The stream is proved job by job as it comes: each entry begins
where the last one of its job ended, or the command fails rather than show a log with a hole. Of a
job that was there before, it begins in the middle.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from typing import Protocol

from airunner.cli.exit_codes import CommandFailed
from airunner.cli.render.events import remark
from airunner.cli.render.line_splitter import Lines
from airunner.cli.render.output_lines import Piece, Printed, put
from airunner.cli.render.streams import STDOUT, note
from airunner.model.errors import DataLoss, Refused
from airunner.model.job_events import JobEvent, JobFinished, trimmed
from airunner.model.jobs import JobId
from airunner.model.reports import Output, OutputCut
from airunner.wire.client.follow import follow_all
from airunner.wire.client.jobs_client import JobsClient
from airunner.wire.json.events import event_json


class ShowAll(Protocol):
    def of(self, id: JobId, entry: JobEvent) -> Iterable[Piece]:
        """What is printed of an entry; those of each job come in their order."""
        ...

    def rest(self) -> Iterable[Piece]:
        """What is left to print when all that is known of jobs is void."""
        ...


class LinesOfAll:
    """Line by line, each job's assembled by themselves."""

    def __init__(self, printed: Printed) -> None:
        self._printed = printed
        self._lines: dict[JobId, Lines] = {}  # of those that have written, and not ended

    def of(self, id: JobId, entry: JobEvent) -> Iterator[Piece]:
        head = f"{id} ".encode()
        if isinstance(entry.what, Output):
            self._lines.setdefault(id, Lines())
        if (lines := self._lines.get(id)) is not None:
            yield from self._printed.lines(lines.of(entry), head)
        match entry.what:
            case JobFinished() as ended:
                self._lines.pop(id, None)
                yield from self._printed.end(ended, head)
            case OutputCut() as cut:
                note(f"{id}: {remark(cut)}")

    def rest(self) -> Iterator[Piece]:
        for id, lines in self._lines.items():
            yield from self._printed.lines(lines.rest(), f"{id} ".encode())
        self._lines.clear()


class JsonOfAll:
    """Every event of every job as a line of JSON."""

    def of(self, id: JobId, entry: JobEvent) -> Iterator[Piece]:
        for each in event_json(entry):
            line = json.dumps({"job": id, **each}, ensure_ascii=False)
            yield STDOUT, line.encode() + b"\n"

    def rest(self) -> tuple[()]:
        return ()


async def follow_all_jobs(jobs: JobsClient, show: ShowAll, *, queue: str = "") -> None:
    """Show what happens to all jobs, or to those of a queue, from now on; for ever."""
    follower = _Follower(show)
    async with aclosing(follow_all(jobs, queue=queue, lost=_tell_lost)) as told:
        async for heard in told:
            if heard.begins:
                await put(show.rest())
                follower.forget()
                whose = f"the jobs of queue {queue}" if queue else "all jobs"
                note(f"following {whose} from now on")
            await put(follower.pieces(heard.entries))


class _Follower:
    """Proves that nothing is missing, and leaves out what was told before."""

    def __init__(self, show: ShowAll) -> None:
        self._show = show
        self._last: dict[JobId, int] = {}  # the last sequence of jobs that have not ended

    def forget(self) -> None:
        self._last.clear()

    def pieces(self, entries: Iterable[tuple[JobId, JobEvent]]) -> Iterator[Piece]:
        for id, entry in entries:
            if (new := self._new(id, entry)) is not None:
                yield from self._show.of(id, new)

    def _new(self, id: JobId, entry: JobEvent) -> JobEvent | None:
        """What of the entry was not told before: a cut that has grown is told as a whole."""
        last = self._last.get(id, entry.first - 1)
        if entry.first > last + 1:
            raise CommandFailed(
                f"the server sent event {entry.first} of job {id} where {last + 1} follows: "
                f"`airunner monitor {id}` reads it from its beginning"
            )
        if entry.last <= last:
            return None
        if isinstance(entry.what, JobFinished):
            self._last.pop(id, None)
        else:
            self._last[id] = entry.last
        return trimmed(entry, last + 1)


def _tell_lost(refusal: Refused) -> None:
    note(f"{refusal}; {'going on from now' if isinstance(refusal, DataLoss) else 'trying again'}")
