"""A network in virtual time that does everything a real one may do, as the dice fall.

A Stream is what a connection is: two directions, each in order and reliable until it breaks. Messages
take time; a direction that nobody empties makes its sender wait. What can happen to it:

- it breaks: what was on the way is lost, and each end hears of it at a time of its own;
- it half-opens: one direction swallows what is said, and nobody is told while the other lives on;
- its host is cut off: messages wait where they are, and go on, or are lost, when that is over;
- an end dies with its process: nothing that it says any more goes out.

A call is one message there and one back, outside of any stream: each may be late, lost, come twice or
after what was sent later.
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

ROOM: Final = 16  # messages that a direction holds before its sender waits
DEADLINE_SECONDS: Final = 8.0  # of a call
LATE_SECONDS: Final = 4.0  # by which a call may come after another that was sent with it
DELAY_SECONDS_MAX: Final = 30.0  # of a message, where the network is as slow as it may be
KEEPALIVE_SECONDS: Final = 25.0  # after which an end hears that the other one has died silently


class Route:
    """How one host is connected to the server now."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        # What a host says on a later stream comes later, or connections race with each other.
        self.is_one_connection = dice.random() < 0.5
        self.cut_off = False  # messages wait, and nobody connects
        self.loss = 0.0  # of calls, the chance that a message is lost
        self.twice = 0.0  # ... that a request comes twice
        self.slow = 1.0  # times the usual delay
        self.held: list[Callable[[], None]] = []  # arrivals that wait for the end of a cut
        self.latest = 0.0  # arrival at the server of what streams carry

    def delay(self) -> float:
        """Seconds on the way: mostly short, now and then long."""
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
    """One way through a stream."""

    def __init__(self, route: Route, *, shared: bool = False) -> None:
        """`shared`: with all of the host's streams, as one connection carries them."""
        self._route = route
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._flying: deque[Message | ChannelClosed | Refused] = deque()
        self._inbox: deque[Message | ChannelClosed | Refused] = deque()
        self._arrives_at = 0.0  # the last that flies
        self._sunk = 0
        self._swallows = False
        self._news = asyncio.Event()

    @property
    def has_room(self) -> bool:
        return len(self._flying) + len(self._inbox) + self._sunk < ROOM

    def fly(self, message: Message | ChannelClosed | Refused) -> None:
        """Send on its way."""
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
        """The next that has arrived, or None; raises what the other side ended with."""
        if not self._inbox:
            return None
        message = self._inbox[0]
        if isinstance(message, ChannelClosed | Refused):
            raise message
        self._inbox.popleft()
        self.wake()
        return message

    def swallow(self) -> None:
        """Lose what is on the way, and all that follows."""
        self._flying.clear()
        self._swallows = True

    def end(self, why: ChannelClosed) -> None:
        """Let the reader hear of its end, behind what has arrived."""
        self._inbox.append(why)
        self.wake()

    def wake(self) -> None:
        self._news.set()

    async def change(self) -> None:
        """Return once something may have changed."""
        self._news.clear()
        await self._news.wait()

    def _arrive(self) -> None:
        if self._route.cut_off:
            self._route.held.append(self._arrive)
        elif self._flying:
            self._inbox.append(self._flying.popleft())
            self.wake()


class End(Generic[Out, In]):
    """What one side has of a stream; a Channel[Out, In]."""

    def __init__(
        self, outgoing: Direction[Out], incoming: Direction[In], *, handled: bool = False
    ) -> None:
        """`handled`: whoever serves the stream hangs up, with a reason if there is one."""
        self._outgoing, self._incoming = outgoing, incoming
        self._handled = handled
        self._hung_up = False
        self._broken = False
        self.closed = False  # by this side

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
        """Let the other side hear of the end, and why, if anything comes through."""
        if not self._hung_up:
            self._hung_up = True
            self._outgoing.fly(why)

    def hear_the_end(self) -> None:
        """Hear that the stream is broken."""
        self._broken = True
        self._incoming.end(ChannelClosed("the connection broke"))
        self._outgoing.wake()

    def _check(self) -> None:
        if self.closed:
            raise ChannelClosed("this end is closed")


class Stream(Generic[Out, In]):
    """A connection: `near` is the end of the host whose route it takes, `far` the server's."""

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
        """Break it; each end hears of that when it does."""
        self._there.swallow()
        self._back.swallow()
        for end in (self.near, self.far):
            self._loop.call_later(self._dice.choice([0, 0, 0.01, 1.0]), end.hear_the_end)

    def half_open(self) -> None:
        """Swallow what is said in one direction; keepalive finds out, much later."""
        (self._there if self._dice.random() < 0.5 else self._back).swallow()
        self._loop.call_later(KEEPALIVE_SECONDS, self.cut)

    def die(self, end: "End[Out, In] | End[In, Out]") -> None:
        """One end's process is gone; the other hears of that soon, or only by keepalive."""
        self._there.swallow()
        self._back.swallow()
        other = self.far if end is self.near else self.near
        after = self._dice.choice([0.0, 0.01, 0.3, KEEPALIVE_SECONDS])
        self._loop.call_later(after, other.hear_the_end)


class Serves(Protocol):
    """A server as its network sees it."""

    def begin(self, doing: Callable[[], Awaitable[None]]) -> Callable[[], None] | None:
        """Begin with a call, and give what calls it off; None if nobody listens."""
        ...


Host = TypeVar("Host", bound=Serves)


class Call(Generic[Host, Answer]):
    """One request, on its way to whatever server is there, and its answer."""

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
        """What the server says; Unreachable if that does not come. `once`: no request comes twice."""
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
        if self._server() is server:  # else it died in this moment
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
