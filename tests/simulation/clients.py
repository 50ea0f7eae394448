"""Simulated clients: they enqueue, watch, cancel, retry and list jobs, and record every answer.

They repeat calls as a real client does: a call with an idempotency key until its answer, a call
without a key once. They run in virtual time.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final, Protocol, TypeVar

from msgspec import structs

from airunner.model.artifacts import Artifact
from airunner.model.errors import AlreadyFinished, Refused
from airunner.model.job_events import JobEvent, JobFinished
from airunner.model.job_query import JobQuery, Page
from airunner.model.jobs import Job, JobId, JobRequest, RequestId, Subject
from airunner.model.spec import Container, JobSpec
from airunner.wire.client.follow import follow
from tests.simulation.commands import any_command, any_steps
from tests.simulation.observations import Acknowledged, Glimpse, Listed, Testimony, Viewing

Answer = TypeVar("Answer")

QUEUES: Final = ("fast", "slow", "wide")
PAGE_JOBS: Final = 5  # so that a list has several pages


class Server(Protocol):
    """The server's calls over a client's network. Each call may raise Unreachable or Refused."""

    async def enqueue(self, wish: JobRequest) -> Job: ...

    async def retry(self, id: JobId, request: RequestId, by: Subject) -> Job: ...

    async def cancel(self, id: JobId, by: Subject) -> Job: ...

    async def get(self, id: JobId) -> Job: ...

    async def page(self, listing: JobQuery) -> Page: ...

    async def artifacts(self, id: JobId) -> list[tuple[Artifact, bytes]]: ...

    def watch(
        self,
        id: JobId,
        *,
        from_sequence: int = 1,
        stop_at_tail: bool = False,
        kinds: Iterable[str] = (),
    ) -> AsyncGenerator[JobEvent, None]: ...

    async def check(self) -> None: ...

    def dice(self, low: float, high: float) -> float: ...


def any_spec(dice: Random) -> JobSpec:
    steps = any_steps(dice) if dice.random() < 0.35 else None
    command, args = any_command(dice) if steps is None else ("", ())
    spec = JobSpec(
        command=command,
        args=args,
        steps=steps,
        queue=dice.choice(QUEUES),
        attempts_max=dice.choice([1, 2, 3]),
        timeout_seconds=dice.choice([0, 0, 0, 3]),
        queue_timeout_seconds=dice.choice([0, 0, 0, 15]),
        grace_seconds=dice.choice([0, 1, 4]),
        artifacts=("out/",) if dice.random() < 0.4 else (),
    )
    match dice.randrange(25):
        case 0:
            return structs.replace(spec, working_directory="nowhere")
        case 1:
            return structs.replace(spec, container=Container(image="any"))
        case 2 | 3:
            return structs.replace(spec, output_bytes_max=dice.choice([1, 100, 5_000]))
    return spec


class Client:
    """A client with its pending calls."""

    def __init__(
        self,
        name: str,
        server: Server,
        dice: Random,
        testimony: Testimony,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._by = Subject(name)
        self._name = name
        self._server = server
        self._dice = dice
        self._testimony = testimony
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._keys = 0
        self._wishes: dict[RequestId, JobSpec] = {}
        self._jobs: list[JobId] = []

    async def live(self, seconds: float) -> None:
        """Makes random calls for `seconds`."""
        ends_at = self._loop.time() + seconds
        verbs = [self._submit] * 6 + [self._submit_again, self._cancel, self._cancel]
        verbs += [self._retry, self._get, self._get, self.list_all, self._watch, self._watch]
        while self._loop.time() < ends_at:
            verb = self._dice.choice(verbs)
            self._tasks.create_task(verb())
            await asyncio.sleep(self._dice.expovariate(0.25))

    # Calls

    async def _submit(self) -> None:
        key = RequestId("")
        if self._dice.random() < 0.7:
            self._keys += 1
            key = RequestId(f"{self._name}-{self._keys}")
        spec = any_spec(self._dice)
        if key:
            self._wishes[key] = spec
        await self._enqueue(spec, key)

    async def _submit_again(self) -> None:
        """Repeats an answered request with its key, as a restarted client does."""
        if self._wishes:
            key = self._dice.choice(list(self._wishes))
            await self._enqueue(self._wishes[key], key)

    async def _enqueue(self, spec: JobSpec, key: RequestId) -> None:
        wish = JobRequest(spec=spec, request=key, submitter=self._by)
        if key:
            self._testimony.keys.add(key)
        asked_at = self._loop.time()
        job = await self._patiently(lambda: self._server.enqueue(wish), repeat=bool(key))
        if job:
            self._acknowledged(job, key, spec, asked_at)
            if self._dice.random() < 0.7:
                await self._follow(job.id)

    async def _retry(self) -> None:
        if not self._jobs:
            return
        old = self._dice.choice(self._jobs)
        self._keys += 1
        key = RequestId(f"{self._name}-{self._keys}")
        self._testimony.keys.add(key)
        asked_at = self._loop.time()
        job = await self._patiently(lambda: self._server.retry(old, key, self._by))
        if job:
            self._acknowledged(job, key, job.spec, asked_at)

    def _acknowledged(self, job: Job, key: RequestId, spec: JobSpec, asked_at: float) -> None:
        self._jobs.append(job.id)
        now = self._loop.time()
        self._testimony.acknowledged.append(Acknowledged(job.id, key, spec, job.retry_of, now))
        self._testimony.glimpses.append(Glimpse(job, asked_at, now))

    async def _cancel(self) -> None:
        if self._jobs:
            id, asked_at = self._dice.choice(self._jobs[-4:]), self._loop.time()
            if job := await self._patiently(lambda: self._server.cancel(id, self._by)):
                glimpse = Glimpse(job, asked_at, self._loop.time())
                self._testimony.cancelled.append(glimpse)
                self._testimony.glimpses.append(glimpse)

    async def _get(self) -> None:
        if self._jobs:
            id, asked_at = self._dice.choice(self._jobs), self._loop.time()
            if job := await self._patiently(lambda: self._server.get(id)):
                self._testimony.glimpses.append(Glimpse(job, asked_at, self._loop.time()))

    async def list_all(self) -> None:
        """Reads every page of the list of jobs."""
        asked_at, jobs = self._loop.time(), list[Job]()
        listing = JobQuery(page_size=PAGE_JOBS)
        while True:
            page = await self._patiently(partial(self._server.page, listing))
            if page is None:
                return
            jobs += page.jobs
            if page.next is None:
                break
            listing = replace(listing, before=page.next)
        self._testimony.lists.append(Listed(tuple(jobs), asked_at, self._loop.time()))

    async def fetch(self, id: JobId) -> None:
        """Reads all artifacts of a job."""
        found = await self._patiently(lambda: self._server.artifacts(id))
        if found is not None:
            self._testimony.found[id] = found

    async def _watch(self) -> None:
        if self._jobs:
            await self._follow(self._dice.choice(self._jobs))

    async def _follow(self, id: JobId) -> None:
        """Watches a job to its end, or leaves in the middle and possibly resumes."""
        viewing = Viewing(id, 1)
        self._testimony.viewings.append(viewing)
        while not await self.see(viewing, leaves=self._dice.choice([0.0, 0.0, 0.1])):
            if self._dice.random() < 0.3:
                return
            await asyncio.sleep(self._dice.expovariate(0.5))

    async def see(self, viewing: Viewing, *, leaves: float = 0.0) -> bool:
        """Resumes watching; returns True after the end or a refusal, False after leaving early."""
        after = viewing.entries[-1].last if viewing.entries else 0
        entries = follow(
            self._server,  # type: ignore[arg-type]  # it has the client's calls
            viewing.id,
            from_sequence=after + 1,
            known=True,
        )
        try:
            async with aclosing(entries):
                async for entry in entries:
                    viewing.entries.append(entry)
                    if isinstance(entry.body, JobFinished):
                        viewing.done = True
                    elif self._dice.random() < leaves:
                        return False
                    if self._dice.random() < 0.02:
                        await asyncio.sleep(self._dice.uniform(0, 3))  # a slow reader
        except Refused as refusal:
            self._testimony.refusals.append(f"{viewing.id}: {refusal.status}: {refusal}")
        return True

    async def _patiently(
        self, ask: Callable[[], Awaitable[Answer]], *, repeat: bool = True
    ) -> Answer | None:
        """Repeats a call until its answer; None after a refusal, or without `repeat` a lost call."""
        while True:
            try:
                return await ask()
            except AlreadyFinished:
                return None
            except Refused as refusal:
                if not refusal.retry:
                    self._testimony.refusals.append(f"{refusal.status}: {refusal}")
                    return None
                if not repeat:
                    return None
            await asyncio.sleep(self._dice.uniform(0.1, 3))
