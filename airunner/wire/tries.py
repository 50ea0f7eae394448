"""When a stream that has broken is asked for again, and when nobody need try any more."""

import asyncio
from collections.abc import Callable
from typing import Final

from airunner.errors import Refused, ShuttingDown, Stalled, Unauthenticated, Unreachable
from airunner.wire.client import JobsClient

PAUSE_SECONDS: Final = (0.1, 5.0)  # before a further try: at first, at most; doubled in between
AWAY_SECONDS_MAX: Final = 900.0  # for which a server may be gone before a watcher gives up
CONNECTED_SECONDS: Final = 60.0  # after which a stream must have had a server, though it was silent
BROKEN: Final = (Unreachable, ShuttingDown, Stalled, Unauthenticated)  # what a further try may mend


class Tries:
    """One watcher's, over all of its streams.

    `lost` is told once each time that the server goes away. `known`: the first stream may break
    as well, for what is watched is there.
    """

    def __init__(
        self,
        jobs: JobsClient,
        *,
        lost: Callable[[Refused], None],
        known: bool = False,
        patience: float = AWAY_SECONDS_MAX,
    ) -> None:
        self._jobs = jobs
        self._lost = lost
        self._seen = known
        self._patience = patience
        self._pause = PAUSE_SECONDS[0]
        self._began = 0.0
        self._away_since: float | None = None

    def begin(self) -> None:
        """A stream is asked for."""
        self._began = asyncio.get_running_loop().time()

    def heard(self) -> None:
        """It has said something."""
        self._pause, self._seen, self._away_since = PAUSE_SECONDS[0], True, None

    async def again(self, refusal: Refused) -> None:
        """Return when it is time to ask again; raise what no further try can mend.

        That is Unreachable too if the server stays away for longer than `patience` seconds or
        the very first stream had none. A token that ran out is read again from its file, once
        for each time that it has worked.
        """
        if isinstance(refusal, Unauthenticated):
            if not self._seen or self._jobs.destination.token_file is None:
                raise refusal
            self._seen = False
            self._lost(refusal)
        else:
            await self._be_patient(refusal)
        await asyncio.sleep(self._jobs.dice(0, self._pause))
        self._pause = min(2 * self._pause, PAUSE_SECONDS[1])

    async def _be_patient(self, refusal: Refused) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._began > CONNECTED_SECONDS:
            self._away_since = None
        if self._away_since is not None and now - self._away_since > self._patience:
            raise refusal
        if not self._seen:  # a stream that broke before its first word, or nobody there?
            await self._jobs.check()
            self._seen = True
        if self._away_since is None:
            self._away_since = now
            self._lost(refusal)
