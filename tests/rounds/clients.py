"""The clients of the crash test: they submit, watch, cancel and retry, and record the answers.

Each client has a connection and random numbers of its own, and repeats the calls that a real
caller repeats: a request with a key until the acknowledgement, a watch from its last position. A
request without a key is sent once, and only an acknowledged job must exist.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from random import Random
from typing import Final

from airunner.cli.exit_codes import OURS
from airunner.model.errors import (
    AlreadyFinished,
    LimitReached,
    Refused,
    ShuttingDown,
    Stalled,
    Unreachable,
)
from airunner.model.job_events import JobEvent, JobFinished
from airunner.model.jobs import JobId, RequestId
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.follow import follow, follow_all
from airunner.wire.client.jobs_client import JobsClient
from tests.rounds.expectations import Wish, is_alive, thrown
from tests.rounds.observations import Accepted, Exit, Sightings, View
from tests.support.installation import AIRUNNER, Site

OPEN_MAX: Final = 24  # open jobs with a watcher, over all clients
CATCH_UP_SECONDS_MAX: Final = 60.0  # until the follower of all jobs has every end
PAUSES: Final = (0.0, 0.05, 0.1, 0.3)  # seconds between two actions of a client

Away = (Unreachable, ShuttingDown, Stalled, LimitReached)  # the last: of a full disk


class Clients:
    """All clients of a campaign, and their common records."""

    def __init__(self, site: Site, marks: Path, seed: str) -> None:
        self.site = site
        self.seed = seed
        self.seen = Sightings(marks)
        self.closed = asyncio.Event()  # no client begins another action
        self.heard = 0  # events and answers that any client has received
        self.open = 0  # watched jobs that have not ended
        self.tasks: asyncio.TaskGroup | None = None
        self._goals: list[tuple[int, asyncio.Event]] = []

    async def live(self, count: int) -> None:
        """Runs the clients until `closed`, and then until every watched job has ended."""
        async with asyncio.TaskGroup() as tasks:
            listener = Listener(self)
            listening = tasks.create_task(listener.live())
            await listener.begun.wait()
            async with asyncio.TaskGroup() as self.tasks:
                for number in range(count):
                    self.tasks.create_task(Client(self, f"person {number}").live())
            await listener.caught_up()
            listening.cancel()

    async def pause(self, seconds: float) -> None:
        """Waits for `seconds`, or until `closed`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closed.wait()

    async def breathe(self) -> None:
        """Waits briefly before a repetition, even when `closed`."""
        await self.hears(5, 0.2)

    async def hears(self, more: int, seconds: float) -> bool:
        """Waits until the clients have received `more` events; False if `seconds` pass first."""
        goal = asyncio.Event()
        self._goals.append((self.heard + more, goal))
        try:
            async with asyncio.timeout(seconds):
                await goal.wait()
        except TimeoutError:
            return False
        finally:
            self._goals = [each for each in self._goals if each[1] is not goal]
        return True

    def hear(self) -> None:
        self.heard += 1
        for goal, reached in self._goals:
            if goal <= self.heard:
                reached.set()

    def connection(self) -> JobsClient:
        ca_cert = self.site.certs / "ca.pem"
        return JobsClient(Endpoint(server=self.site.address, ca_cert=ca_cert))

    def alarm(self, what: str) -> None:
        self.seen.alarms.append(what)


class Listener:
    """The follower of all jobs, from before the first job to after the last job."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._views: dict[JobId, View] = {}
        self._open = set[JobId]()
        self.begun = asyncio.Event()

    async def live(self) -> None:
        """Follows all jobs until cancelled."""
        lost = list[Refused]()
        jobs = self._clients.connection()
        async with jobs, aclosing(follow_all(jobs, lost=lost.append)) as stream:
            async for heard in stream:
                if heard.restarted and self.begun.is_set():
                    told = next(
                        (each for each in reversed(lost) if each.status == "DATA_LOSS"), None
                    )
                    self._clients.alarm(f"whoever followed all jobs had to begin anew: {told}")
                self.begun.set()
                for id, entry in heard.events:
                    self._note(id, entry)

    async def caught_up(self) -> None:
        """Waits until the follower has the end of every acknowledged job."""
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
                while not self._has_heard():
                    await self._clients.hears(1, 0.2)
        except TimeoutError:
            missing = self._clients.seen.ids.keys() - self._views.keys()
            self._clients.alarm(
                f"whoever followed all jobs never heard of {sorted(missing)}, nor of the end of "
                f"{sorted(self._open)}"
            )

    def _has_heard(self) -> bool:
        ids = self._clients.seen.ids.keys()
        return ids <= self._views.keys() and not ids & self._open

    def _note(self, id: JobId, entry: JobEvent) -> None:
        if id not in self._views:
            self._views[id] = View(id, 1, "whoever followed all jobs")
            self._clients.seen.views.append(self._views[id])
            self._open.add(id)
        self._views[id].entries.append(entry)
        if isinstance(entry.body, JobFinished):
            self._open.discard(id)
        self._clients.hear()


class Client:
    """A client of the server, and the `airunner` commands that it starts."""

    def __init__(self, clients: Clients, name: str) -> None:
        self._clients = clients
        self._seen = clients.seen
        self._name = name
        self._dice = Random(f"{clients.seed} {name}")
        self._jobs = clients.connection()
        self._known: list[JobId] = []  # jobs that were acknowledged to this client
        self._count = 0

    async def live(self) -> None:
        deeds: dict[Callable[[], Awaitable[None]], int] = {
            self._submit: 8,
            self._submit_with_key: 6,
            self._submit_and_cancel: 4,
            self._retry: 2,
            self._watch_again: 4,
            self._run_submit: 2,
            self._run_monitor: 1,
        }
        async with self._jobs, asyncio.TaskGroup() as self._tasks:
            while not self._clients.closed.is_set():
                await self._clients.pause(self._dice.choice(PAUSES))
                if self._clients.open < OPEN_MAX:
                    await self._dice.choices(list(deeds), list(deeds.values()))[0]()

    # Actions

    async def _submit(self) -> None:
        """Submits without a key, once."""
        wish = self._wish()
        with suppress(*Away):
            accepted = await self._jobs.enqueue(wish.spec(self._seen.marks))
            self._accept(accepted.id, wish)

    async def _submit_with_key(self) -> None:
        """Submits the same request from several callers at once, each until its acknowledgement."""
        wish = self._wish()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._dice.choice((1, 1, 2, 3))):
                tasks.create_task(self._insist(wish))

    async def _insist(self, wish: Wish) -> JobId:
        key = RequestId(f"key {wish.tag}")
        while True:
            with suppress(*Away):
                accepted = await self._jobs.enqueue(wish.spec(self._seen.marks), request=key)
                self._accept(accepted.id, wish, key)
                return accepted.id
            await self._clients.breathe()

    async def _submit_and_cancel(self) -> None:
        id = await self._insist(self._wish(endless=True))
        self._tasks.create_task(self._cancel(id, self._dice.choice((0, 0.2, 1, 3))))

    async def _cancel(self, id: JobId, seconds: float) -> None:
        """Cancels after a pause, until the acknowledgement, since the job never ends otherwise."""
        await self._clients.pause(seconds)
        self._seen.cancels.add(id)
        while True:
            with suppress(*Away):
                with suppress(AlreadyFinished):
                    await self._jobs.cancel(id)
                    self._seen.cancelled.add(id)
                    self._clients.hear()
                return
            await self._clients.breathe()

    async def _retry(self) -> None:
        tags = self._seen.ids
        if ids := [id for id in self._known if not self._seen.wishes[tags[id]].endless]:
            id = self._dice.choice(ids)
            self._seen.asked[tags[id]] += 1
            with suppress(*Away):
                self._accept((await self._jobs.retry(id)).id, self._seen.wishes[tags[id]])

    async def _watch_again(self) -> None:
        """Watches a known job again, finished or not, from the beginning or from the middle."""
        if self._known:
            id = self._dice.choice(self._known)
            most = max(1, *(len(view.items) for view in self._seen.views if view.id == id), 1)
            start = self._dice.choice((1, self._dice.randrange(1, most + 1)))
            self._tasks.create_task(self._watch(id, start))

    # Watching

    def _accept(self, id: JobId, wish: Wish, key: str = "") -> None:
        self._seen.accepted.append(Accepted(id, wish.tag, key))
        self._known.append(id)
        self._clients.hear()
        self._tasks.create_task(self._watch(id, 1))

    async def _watch(self, id: JobId, start: int) -> None:
        view = View(id, start, self._name)
        self._seen.views.append(view)
        self._clients.open += 1
        try:
            stream = follow(self._jobs, id, from_sequence=start, known=True)
            async with aclosing(stream) as entries:
                async for entry in entries:
                    view.entries.append(entry)
                    self._clients.hear()
                    if isinstance(entry.body, JobFinished) and is_alive(self._seen.marks, id):
                        self._seen.lingering.add(id)
        except Refused as refusal:
            self._clients.alarm(f"{self._name} was told of {id}: {refusal.status}: {refusal}")
        finally:
            self._clients.open -= 1

    # Programs

    async def _run_submit(self) -> None:
        wish = self._wish()
        pty = "--pty" if wish.pty else "--pipe"
        self._tasks.create_task(
            self._program("submit", pty, "--", *wish.argv(self._seen.marks), tag=wish.tag)
        )

    async def _run_monitor(self) -> None:
        if self._known:
            id = self._dice.choice(self._known)
            self._tasks.create_task(self._program("monitor", "--json", id, id=id))

    async def _program(self, *words: str, tag: str = "", id: JobId | None = None) -> None:
        process = await asyncio.create_subprocess_exec(
            *AIRUNNER,
            *words,
            env=self._clients.site.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if tag and (said := re.search(rb"^airunner: job (\S+)$|^job (\S+)$", errors, re.MULTILINE)):
            id = JobId((said[1] or said[2]).decode())
            self._seen.accepted.append(Accepted(id, tag, ""))
        code = process.returncode or 0
        if id is None or (code == OURS and not output):
            return  # no server was reachable at its start, and it reported that
        lines = tuple(_line(line) for line in output.splitlines()) if words[0] == "monitor" else ()
        self._seen.exits.append(Exit(id, words[0], code, output, errors, lines))
        self._clients.hear()

    def _wish(self, *, endless: bool = False) -> Wish:
        self._count += 1
        tag = f"{self._name.replace(' ', '-')}.{self._count}"
        wish = self._seen.wishes[tag] = thrown(self._dice, tag, endless=endless)
        self._seen.asked[tag] += 1
        return wish


def _line(line: bytes) -> tuple[int, int, str]:
    said = json.loads(line)
    return said["sequence"], said["attempt"], said["type"]
