"""The follower of all jobs, from the first event to the last, sometimes slow, in virtual time."""

import asyncio
from contextlib import aclosing
from random import Random

from airunner.model.errors import DataLoss, Refused
from airunner.model.job_events import JobEvent, JobFinished
from airunner.model.jobs import JobId
from airunner.wire.client.follow import follow_all
from tests.simulation.observations import Testimony, Viewing
from tests.simulation.queue_order import Line


class Listener:
    def __init__(self, server: Line, dice: Random, testimony: Testimony) -> None:
        self._server = server
        self._dice = dice
        self._testimony = testimony
        self._viewings: dict[JobId, Viewing] = {}
        self._news = asyncio.Event()
        self.begun = asyncio.Event()

    async def live(self) -> None:
        """Follows all jobs until cancelled."""
        stream = follow_all(
            self._server,  # type: ignore[arg-type]  # it has the client's calls
            lost=self._lost,
        )
        async with aclosing(stream) as told:
            async for heard in told:
                self.begun.set()
                for id, entry in heard.events:
                    self._note(id, entry)
                self._news.set()
                if self._dice.random() < 0.02:
                    await asyncio.sleep(self._dice.uniform(0, 3))

    async def hears_the_end_of(self, ids: set[JobId]) -> None:
        """Waits until the follower has the end of each of these jobs."""
        while ids - {id for id, viewing in self._viewings.items() if viewing.done}:
            self._news.clear()
            await self._news.wait()

    def _note(self, id: JobId, entry: JobEvent) -> None:
        if id not in self._viewings:
            self._viewings[id] = Viewing(id, 1)
            self._testimony.viewings.append(self._viewings[id])
        self._viewings[id].entries.append(entry)
        self._viewings[id].done |= isinstance(entry.body, JobFinished)

    def _lost(self, refusal: Refused) -> None:
        if isinstance(refusal, DataLoss):
            self._testimony.refusals.append(f"whoever follows all jobs: {refusal}")
