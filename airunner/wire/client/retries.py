"""The retry policy of streams and transfers that a lost connection interrupts."""

import asyncio
from collections.abc import Callable
from typing import Final

from airunner.model.errors import Refused, ShuttingDown, Stalled, Unauthenticated, Unreachable
from airunner.wire.client.connection import Connection

PAUSE_SECONDS: Final = (0.1, 5.0)  # before a retry: initial, maximum; doubled each time
AWAY_SECONDS_MAX: Final = 900.0  # absence of the server before a client gives up
CONNECTED_SECONDS: Final = 60.0  # a try that lasted longer was connected, even if silent
# The refusals that a retry may repair.
RETRYABLE: Final = (Unreachable, ShuttingDown, Stalled, Unauthenticated)


class RetryPolicy:
    """The retries of one stream or one transfer.

    Calls `lost` once for each time that the server becomes unavailable. `known`: the job is known
    to exist, so the first try is retried as well.
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
        self._token_read = False  # the token file was read again, without a success since

    def start_try(self) -> None:
        """Record the start of a try."""
        self._began = asyncio.get_running_loop().time()

    def reset(self) -> None:
        """Reset the backoff and the patience: the server has sent a message."""
        self._pause, self._seen, self._away_since = PAUSE_SECONDS[0], True, None
        self._token_read = False

    async def wait_before_retry(self, refusal: Refused) -> None:
        """Wait for the next try after a retryable refusal, or raise the refusal.

        Raises it if the server has been unavailable for longer than `patience` seconds, or if the
        first try found no server. An expired token is read again from its file, once after each
        success.
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
        if not self._seen:  # tells a try that broke before its first message from no server
            await self._client.check()
            self._seen = True
        if self._away_since is None:
            self._away_since = now
            self._lost(refusal)
        if now - self._away_since >= self._patience:
            raise refusal
