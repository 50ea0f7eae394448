"""What every client of a server has: a channel, for the length of a block or until it is closed."""

from types import TracebackType
from typing import Self

from airunner.wire.dial import Destination, dial


class Caller:
    """A connection to a server, made with the first call."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self._channel = dial(destination)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()
