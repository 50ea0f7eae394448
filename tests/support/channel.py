"""An in-memory network for tests: the two ends of a Channel."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from airunner.model.errors import Refused
from airunner.model.protocol.channel import ChannelClosed

Out = TypeVar("Out")
In = TypeVar("In")
Message = TypeVar("Message")
A = TypeVar("A")
B = TypeVar("B")


class Pipe(Generic[Message]):
    """One direction of a channel: `room` messages, then the sender waits."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.messages: deque[Message] = deque()
        self.closed = False
        self.refusal: Refused | ChannelClosed | None = None  # what the reader's receive() raises
        self._news = asyncio.Event()

    async def put(self, message: Message) -> None:
        while len(self.messages) >= self.room and not self.closed:
            await self._wait()
        if self.closed:
            raise ChannelClosed("the other end is gone")
        self.messages.append(message)
        self._news.set()

    async def get(self) -> Message:
        while not self.messages:
            if self.refusal:
                raise self.refusal
            if self.closed:
                raise ChannelClosed("the other end is gone")
            await self._wait()
        message = self.messages.popleft()
        self._news.set()
        return message

    def close(self) -> None:
        """Refuses further messages; the reader still receives the messages inside."""
        self.closed = True
        self._news.set()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()


class End(Generic[Out, In]):
    """One end of the channel; a Channel[Out, In]."""

    def __init__(self, outgoing: Pipe[Out], incoming: Pipe[In]) -> None:
        self.outgoing, self.incoming = outgoing, incoming

    async def send(self, message: Out) -> None:
        await self.outgoing.put(message)

    async def send_all(self, messages: Iterable[Out]) -> None:
        for message in messages:
            await self.send(message)

    async def receive_all(self) -> list[In]:
        return [await self.receive()]

    async def receive(self) -> In:
        return await self.incoming.get()

    async def close(self) -> None:
        self.outgoing.close()
        self.incoming.close()

    def cut(self) -> None:
        """Breaks the channel: the messages in flight are lost, in both directions."""
        for pipe in (self.outgoing, self.incoming):
            pipe.messages.clear()
            pipe.close()

    def refuse(self, refusal: Refused | ChannelClosed) -> None:
        """Closes the channel; the other end's receive() raises the given error."""
        self.outgoing.refusal = refusal
        self.outgoing.close()


def channel_pair(room: int = 1_000) -> tuple[End[A, B], End[B, A]]:
    """The two ends of a channel with `room` messages in each direction."""
    there, back = Pipe[A](room), Pipe[B](room)
    return End(there, back), End(back, there)
