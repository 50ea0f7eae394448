"""When what a lost connection broke is tried again, and when nobody need try any more."""

import asyncio
from collections.abc import Callable
from typing import Final

from airunner.model.errors import Refused, ShuttingDown, Stalled, Unauthenticated, Unreachable
from airunner.wire.client.connection import Connection

PAUSE_SECONDS: Final = (0.1, 5.0)  # before a further try: at first, at most; doubled in between
AWAY_SECONDS_MAX: Final = 900.0  # absence of the server before a client gives up
CONNECTED_SECONDS: Final = 60.0  # after which a try must have had a server, though it was silent
RETRYABLE: Final = (
    Unreachable,
    ShuttingDown,
    Stalled,
    Unauthenticated,
)  # what a further try may mend


class RetryPolicy:
    """Those of one watch, or of one transfer.

    `lost` is told once each time that the server goes away. `known`: the first try may break
    as well, for what it is about is there.
    """

    def __init__(
        self,
        client: Connection,
        *,
        lost: Callable[[Refused], None] = lambda refusal: None,
        known: bool = False,
        patience: float = AWAY_SECONDS_MAX,
    ) -> None:
        self._client = client
        self._lost = lost
        self._seen = known
        self._patience = patience
        self._pause = PAUSE_SECONDS[0]
        self._began = 0.0
        self._away_since: float | None = None
        self._token_read = False  # once more, and it has not worked since

    def start_try(self) -> None:
        """A try begins."""
        self._began = asyncio.get_running_loop().time()

    def reset(self) -> None:
        """The server has said something."""
        self._pause, self._seen, self._away_since = PAUSE_SECONDS[0], True, None
        self._token_read = False

    async def wait_before_retry(self, refusal: Refused) -> None:
        """Return when it is time to try again; raise what no further try can mend.

        That is Unreachable too if the server stays away for longer than `patience` seconds or
        the very first try had none. A token that ran out is read again from its file, once
        for each time that it has worked.
        """
        if isinstance(refusal, Unauthenticated):
            if self._client.endpoint.token_file is None or self._token_read or not self._seen:
                raise refusal
            self._token_read = True
            self._lost(refusal)
        else:
            await self._check_patience(refusal)
        await asyncio.sleep(self._client.dice(0, self._pause))
        self._pause = min(2 * self._pause, PAUSE_SECONDS[1])

    async def _check_patience(self, refusal: Refused) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._began > CONNECTED_SECONDS:
            self._away_since = None
        if not self._seen:  # a try that broke before its first word, or nobody there?
            await self._client.check()
            self._seen = True
        if self._away_since is None:
            self._away_since = now
            self._lost(refusal)
        if now - self._away_since >= self._patience:
            raise refusal
