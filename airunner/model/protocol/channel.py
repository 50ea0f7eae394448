"""The channel: the interface between session logic and a network.

worker_protocol.py has the messages of a worker and a server; a Channel transports them.
Implementations: gRPC (wire/client/work_channel.py and server/grpc), and a simulated network
in the tests.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

Out = TypeVar("Out", contravariant=True)
In = TypeVar("In", covariant=True)


class ChannelClosed(Exception):
    """The peer is gone or unreachable; the last messages may not have arrived."""


class MessageRefused(ChannelClosed):
    """The channel has ended because of a message, and ends again if the message is sent again."""


class Channel(Protocol[Out, In]):
    """An ordered, reliable, bidirectional stream of messages, until it breaks."""

    async def send(self, message: Out) -> None:
        """Send a message; waits while the peer is slow. Raises ChannelClosed if broken."""
        ...

    async def send_all(self, messages: Iterable[Out]) -> None:
        """Send messages as send() does, several of them together where possible.

        Takes each message from the iterable when it can be sent, so a more urgent message
        may still be put before the waiting messages.
        """
        ...

    async def receive(self) -> In:
        """Receive the next message. Raises ChannelClosed when no message will follow.

        Raises the peer's Refused if the peer closed the channel with a refusal.
        """
        ...

    async def receive_all(self) -> Sequence[In]:
        """Receive the next message and the messages that arrived with it; at least one message."""
        ...

    async def close(self) -> None:
        """Close both directions. Idempotent."""
        ...
