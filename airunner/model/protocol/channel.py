"""The seam between session logic and a network.

What a worker and a server say to each other is vocabulary (session.py); how it
travels is a Channel. gRPC is one; a simulated network is another.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

Out = TypeVar("Out", contravariant=True)
In = TypeVar("In", covariant=True)


class ChannelClosed(Exception):
    """The other side is gone, or cannot be reached; what was sent last may not have arrived."""


class Channel(Protocol[Out, In]):
    """An ordered, reliable, two-way stream of messages, until it breaks."""

    async def send(self, message: Out) -> None:
        """Hand a message over, waiting while the other side is slow; ChannelClosed if broken."""
        ...

    async def send_all(self, messages: Iterable[Out]) -> None:
        """As send() of each, but several may travel together.

        Each is asked for when it can be handed over, so what comes to be more urgent
        meanwhile may go first.
        """
        ...

    async def receive(self) -> In:
        """The next message; ChannelClosed once there will be none.

        Raises the other side's Refused if that is how it closed the channel.
        """
        ...

    async def receive_all(self) -> Sequence[In]:
        """As receive(), with what has come together with the next message; never nothing."""
        ...

    async def close(self) -> None:
        """Stop both directions; safe to call twice."""
        ...
