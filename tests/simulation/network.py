"""A simulated network in virtual time, with the faults of a real network at random.

A Stream models a connection: two directions, each in order and reliable until the stream breaks.
Messages take time; a full direction makes its sender wait. The faults of a stream:

- it breaks: messages in flight are lost, and each end learns of the break at a time of its own;
- it half-opens: one direction drops its messages without notice, while the other direction works;
- its host is cut off: messages wait, and are delivered or lost when the host is reconnected;
- an end dies with its process: no further message of this end is sent.

A call is a request and a response, outside of any stream. Each may be delayed, lost, duplicated or
reordered.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from random import Random
from typing import Final, Generic, Protocol, TypeVar

from airunner.model.errors import Refused, Unreachable
from airunner.model.protocol.channel import ChannelClosed

Out = TypeVar("Out")
In = TypeVar("In")
Message = TypeVar("Message")
Answer = TypeVar("Answer")

ROOM: Final = 16  # messages in a direction before its sender waits
DEADLINE_SECONDS: Final = 8.0  # of a call
LATE_SECONDS: Final = 4.0  # the largest difference in delay of two calls
DELAY_SECONDS_MAX: Final = 30.0  # of a message on the slowest network
KEEPALIVE_SECONDS: Final = 25.0  # after which an end learns of the silent death of the other end


class Route:
    """The present state of a host's connection to the server."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        # True: a later stream's messages arrive later. False: the host's connections race.
        self.is_one_connection = dice.random() < 0.5
        self.cut_off = False  # messages wait, and no connection opens
        self.loss = 0.0  # the chance that a call's message is lost
        self.twice = 0.0  # the chance that a request arrives twice
        self.slow = 1.0  # the factor of the delay
        self.held: list[Callable[[], None]] = []  # arrivals that wait for the reconnection
        self.latest = 0.0  # the last arrival at the server on a stream

    def delay(self) -> float:
        """The seconds of a message in flight: mostly short, occasionally long."""
        short = self.dice.uniform(0.002, 0.02)
        return self.slow * (short if self.dice.random() < 0.95 else self.dice.uniform(0.1, 1.5))

    def heal(self) -> None:
        self.loss, self.twice, self.slow = 0.0, 0.0, 1.0
        self.reconnect()

    def reconnect(self) -> None:
        self.cut_off = False
        held, self.held = self.held, []
        for arrive in held:
            arrive()


class Direction(Generic[Message]):
    """One direction of a stream."""

    def __init__(self, route: Route, *, shared: bool = False) -> None:
        """`shared`: in order with the host's other streams, as on one connection."""
        self._route = route
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._flying: deque[Message | ChannelClosed | Refused] = deque()
        self._inbox: deque[Message | ChannelClosed | Refused] = deque()
        self._arrives_at = 0.0  # the arrival of the last message in flight
        self._sunk = 0
        self._swallows = False
        self._news = asyncio.Event()

    @property
    def has_room(self) -> bool:
        return len(self._flying) + len(self._inbox) + self._sunk < ROOM

    def fly(self, message: Message | ChannelClosed | Refused) -> None:
        """Sends a message."""
        if self._swallows:
            self._sunk += 1
            return
        self._flying.append(message)
        before = self._route.latest if self._shared else self._arrives_at
        self._arrives_at = max(before, self._loop.time() + self._route.delay())
        if self._shared:
            self._route.latest = self._arrives_at
        self._loop.call_at(self._arrives_at, self._arrive)

    def take(self) -> Message | None:
        """The next arrived message, or None; raises the error that ended the direction."""
        if not self._inbox:
            return None
        message = self._inbox[0]
        if isinstance(message, ChannelClosed | Refused):
            raise message
        self._inbox.popleft()
        self.wake()
        return message

    def swallow(self) -> None:
        """Drops the messages in flight and all later messages."""
        self._flying.clear()
        self._swallows = True

    def end(self, why: ChannelClosed) -> None:
        """Ends the direction for its reader, after the arrived messages."""
        self._inbox.append(why)
        self.wake()

    def wake(self) -> None:
        self._news.set()

    async def change(self) -> None:
        """Waits for an arrival, a removal or the end."""
        self._news.clear()
        await self._news.wait()

    def _arrive(self) -> None:
        if self._route.cut_off:
            self._route.held.append(self._arrive)
        elif self._flying:
            self._inbox.append(self._flying.popleft())
            self.wake()


class End(Generic[Out, In]):
    """One end of a stream; a Channel[Out, In]."""

    def __init__(
        self, outgoing: Direction[Out], incoming: Direction[In], *, handled: bool = False
    ) -> None:
        """`handled`: the server's handler ends the stream, with an error if there is one."""
        self._outgoing, self._incoming = outgoing, incoming
        self._handled = handled
        self._hung_up = False
        self._broken = False
        self.closed = False  # by this end

    async def send(self, message: Out) -> None:
        while True:
            self._check()
            if self._broken:
                raise ChannelClosed("the connection broke")
            if self._outgoing.has_room:
                self._outgoing.fly(message)
                return
            await self._outgoing.change()

    async def send_all(self, messages: Iterable[Out]) -> None:
        for message in messages:
            await self.send(message)

    async def receive_all(self) -> list[In]:
        return [await self.receive()]

    async def receive(self) -> In:
        while True:
            self._check()
            if (message := self._incoming.take()) is not None:
                return message
            await self._incoming.change()

    async def close(self) -> None:
        self.closed = True
        self._outgoing.wake()
        self._incoming.wake()
        if not self._handled:
            self.hang_up(ChannelClosed("the other end is gone"))

    def hang_up(self, why: Refused | ChannelClosed) -> None:
        """Ends the stream; the other end receives the reason if the network delivers it."""
        if not self._hung_up:
            self._hung_up = True
            self._outgoing.fly(why)

    def hear_the_end(self) -> None:
        """Learns that the stream is broken."""
        self._broken = True
        self._incoming.end(ChannelClosed("the connection broke"))
        self._outgoing.wake()

    def _check(self) -> None:
        if self.closed:
            raise ChannelClosed("this end is closed")


class Stream(Generic[Out, In]):
    """A connection over a host's route: `near` is the host's end, `far` the server's end."""

    def __init__(self, route: Route) -> None:
        self._loop = asyncio.get_running_loop()
        self._dice = route.dice
        self._there: Direction[Out] = Direction(route, shared=route.is_one_connection)
        self._back: Direction[In] = Direction(route)
        self.near: End[Out, In] = End(self._there, self._back)
        self.far: End[In, Out] = End(self._back, self._there, handled=True)

    @property
    def is_over(self) -> bool:
        return self.near.closed and self.far.closed

    def cut(self) -> None:
        """Breaks the stream; each end learns of the break at a time of its own."""
        self._there.swallow()
        self._back.swallow()
        for end in (self.near, self.far):
            self._loop.call_later(self._dice.choice([0, 0, 0.01, 1.0]), end.hear_the_end)

    def half_open(self) -> None:
        """Drops the messages of one direction; keepalive detects the fault much later."""
        (self._there if self._dice.random() < 0.5 else self._back).swallow()
        self._loop.call_later(KEEPALIVE_SECONDS, self.cut)

    def die(self, end: "End[Out, In] | End[In, Out]") -> None:
        """Kills one end with its process; the other end learns of it soon, or only by keepalive."""
        self._there.swallow()
        self._back.swallow()
        other = self.far if end is self.near else self.near
        after = self._dice.choice([0.0, 0.01, 0.3, KEEPALIVE_SECONDS])
        self._loop.call_later(after, other.hear_the_end)


class Serves(Protocol):
    """The interface between a server and its network."""

    def begin(self, doing: Callable[[], Awaitable[None]]) -> Callable[[], None] | None:
        """Starts a call; returns its cancel function, or None if the server does not listen."""
        ...


Host = TypeVar("Host", bound=Serves)


class Call(Generic[Host, Answer]):
    """A request to the server that runs at its arrival, and the answer."""

    def __init__(
        self,
        route: Route,
        server: Callable[[], Host | None],
        verb: Callable[[Host], Awaitable[Answer]],
    ) -> None:
        self._route, self._server, self._verb = route, server, verb
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Answer] = self._loop.create_future()
        self._called_off: list[Callable[[], None]] = []

    async def answer(self, *, once: bool = False) -> Answer:
        """The server's answer; raises Unreachable without one. `once`: no duplicate request."""
        dice, route = self._route.dice, self._route
        for _ in range(1 + (dice.random() < route.twice and not once)):
            late = dice.choice([0, 0, LATE_SECONDS]) if route.twice else 0
            if not self._is_lost():
                self._loop.call_later(route.delay() + late, self._arrive)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._answer
        except TimeoutError:
            if dice.random() < 0.5:
                for call_off in self._called_off:
                    call_off()
            raise Unreachable("no answer in time") from None

    def _is_lost(self) -> bool:
        return self._route.cut_off or self._route.dice.random() < self._route.loss

    def _arrive(self) -> None:
        server = self._server()
        call_off = server.begin(partial(self._serve, server)) if server else None
        if call_off:
            self._called_off.append(call_off)
        else:
            self._return(lambda: self._refuse(Unreachable("nobody listens")))

    async def _serve(self, server: Host) -> None:
        try:
            answer = await self._verb(server)
        except Refused as refusal:
            told = partial(self._refuse, refusal)
        else:
            told = partial(self._tell, answer)
        if self._server() is server:  # otherwise the server died during the call
            self._return(told)

    def _return(self, arrive: Callable[[], None]) -> None:
        if not self._is_lost():
            self._loop.call_later(self._route.delay(), arrive)

    def _tell(self, answer: Answer) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)

    def _refuse(self, refusal: Refused) -> None:
        if not self._answer.done():
            self._answer.set_exception(refusal)
