"""The guard before every call: authentication, authorisation, and errors as gRPC statuses.

The guard authenticates each call except those of the health service, compares its action with the
table of roles, and ends it with UNAUTHENTICATED when its token expires. A refusal becomes its gRPC
status. Damaged events are DATA_LOSS to their reader and affect no other caller. A log that cannot be
read, because its disk fails, is UNAVAILABLE: its events are not lost. Any other exception is
a defect of the server: it is logged and counted, it ends its call, and the caller learns only that. A
broken invariant ends the server, because its answers can no longer be trusted.

Every method is offered to gRPC as if it took a stream of bytes, and the guard reads and decodes the one
request of a unary call itself. gRPC would receive the whole request before it looks for a handler;
this way a call without a good token is answered before its request is read, and costs no more than
HTTP/2's first window of 64 KiB. It takes as long as a unary call.

Once the server stops, a new call gets UNAVAILABLE before any other check. gRPC itself would end it
with CANCELLED, and a client does not repeat a cancelled call.
"""

from __future__ import annotations  # classes are generic in the stubs only

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import grpc
from structlog.typing import FilteringBoundLogger

from airunner.log.log import LogDamaged, LogFailed
from airunner.model.errors import (
    DataLoss,
    InvalidRequest,
    LimitReached,
    NotAllowed,
    Refused,
    ShuttingDown,
    Stalled,
    Unauthenticated,
    Unreachable,
)
from airunner.model.jobs import Subject
from airunner.model.limits import (
    CALLS_PER_SUBJECT_MAX,
    HEALTH_WATCHES_MAX,
    LARGE_REQUESTS_MAX,
    OPEN_REQUESTS_MAX,
    REQUEST_BYTES_MAX,
    REQUEST_PATIENCE_SECONDS,
    REQUEST_SECONDS_MAX,
    UNFINISHED_REQUESTS_MAX,
)
from airunner.server.auth import Authenticator
from airunner.server.fairness.fair_places import FairPlaces
from airunner.server.grpc.actions import ACTIONS, OPEN
from airunner.server.grpc.requests import RequestDecoder
from airunner.server.policy import Caller, may
from airunner.wire.codec.errors import REFUSAL_KEY, status_of

Q = TypeVar("Q")
A = TypeVar("A")
Serve: TypeAlias = Callable[..., Awaitable[A | None]]
Context: TypeAlias = (
    "grpc.aio.ServicerContext[Any, Any]"  # Any: each method has messages of its own
)

DETAILS_CHARS_MAX: Final = 2_000  # error message, which travels in a header
_DAMAGED: Final = "what the server has of this job is damaged; the server's log says where, and what to do about it"
_DISK_FAILS: Final = "the server cannot read its log, because its disk reports errors"
_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """The caller of the call that is being served."""
    return _caller.get()


class Guard:
    """Wraps the methods of a server in the checks before a call.

    `broken` gets the AssertionError of the first broken invariant.
    """

    def __init__(
        self,
        gate: Authenticator,
        journal: FilteringBoundLogger,
        *,
        broken: Callable[[AssertionError], None],
        stopping: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._gate = gate
        self._journal = journal
        self._broken = broken
        self._stopping = stopping
        self._now = now
        self.failures = 0  # calls that a defect of the server has ended
        self._calls: Counter[Subject] = Counter()  # calls in progress
        self._unfinished = FairPlaces(
            UNFINISHED_REQUESTS_MAX, "UNFINISHED_REQUESTS_MAX", patience=REQUEST_PATIENCE_SECONDS
        )
        self._open = FairPlaces(OPEN_REQUESTS_MAX, "OPEN_REQUESTS_MAX")
        self._large = asyncio.Semaphore(LARGE_REQUESTS_MAX)
        self._watches = FairPlaces(HEALTH_WATCHES_MAX, "HEALTH_WATCHES_MAX")

    def stop(self) -> None:
        """Ends the watches of the server's health, which would hold up the server's end."""
        self._watches.close()

    def wrap(
        self, method: str, handler: grpc.RpcMethodHandler[Q, A]
    ) -> grpc.RpcMethodHandler[Q, A]:
        """The handler, behind the guard."""
        make, serve = _shape(handler)
        decode = RequestDecoder(method, handler.request_deserializer)
        if method in OPEN:
            serve = self._watched(serve) if handler.response_streaming else serve
        elif handler.request_streaming or handler.response_streaming:
            serve = self._until_expired(serve)

        async def guarded(requests: AsyncIterator[bytes], context: Context) -> A | None:
            try:
                with self._admitted(method, context):
                    if handler.response_streaming:
                        # Else gRPC sends them with the first response, and if that is cancelled
                        # once more with the status, which fails: the caller would wait for ever.
                        await context.send_initial_metadata(())
                    if handler.request_streaming:
                        async with aclosing(decode.all(requests)) as decoded:
                            return await serve(decoded, context)
                    async with self._whole(method, context) as request:
                        return await serve(decode(request), context)
            except Exception as error:
                await self._fail(method, context, error)

        return make(guarded, None, handler.response_serializer)

    @contextmanager
    def _admitted(self, method: str, context: Context) -> Iterator[None]:
        """Lets an allowed caller in, and counts the caller's calls."""
        if method in OPEN:
            yield
            return
        if self._stopping():
            raise ShuttingDown
        who = self._gate.authenticate(_token(context))
        if not may(ACTIONS.get(method), who.roles):
            raise NotAllowed(_not_allowed(method, who))
        if self._calls[who.subject] >= CALLS_PER_SUBJECT_MAX:
            raise LimitReached(
                f"{who.subject} has CALLS_PER_SUBJECT_MAX ({CALLS_PER_SUBJECT_MAX}) calls already"
            )
        self._calls[who.subject] += 1
        _caller.set(who)
        try:
            yield
        finally:
            self._calls[who.subject] -= 1
            if not self._calls[who.subject]:
                del self._calls[who.subject]

    @asynccontextmanager
    async def _whole(self, method: str, context: Context) -> AsyncGenerator[bytes, None]:
        """The request of a unary call, once it has arrived, for the block that answers it.

        A large request waits for its turn, so that few of them are decoded at once. Raises
        LimitReached, and Unreachable if the request takes too long.
        """
        if method in OPEN:
            place = self._open.hold(_host(context))
        else:
            place = self._unfinished.hold(caller().subject)
        async with AsyncExitStack() as turn:
            async with place as keep:
                request = await _read(context)
                keep()  # it waits for the server from here on, not for its caller
                if len(request) > REQUEST_BYTES_MAX:
                    await turn.enter_async_context(self._large)
            yield request

    def _watched(self, serve: Serve[A]) -> Serve[A]:
        """Serves one of the watches of the server's health, of which there is a bounded number."""

        async def bounded(request: object, context: Context) -> A | None:
            async with self._watches.hold(_host(context)):
                return await serve(request, context)

        return bounded

    def _until_expired(self, serve: Serve[A]) -> Serve[A]:
        """Serves a stream, and ends it when the caller's token expires.

        A unary call needs no such end: it waits for the log alone.
        """

        async def bounded(request: object, context: Context) -> A | None:
            expires = caller().expires
            try:
                left = None if expires is None else expires - self._now()
                async with asyncio.timeout(left) as term:
                    return await serve(request, context)
            except TimeoutError:
                if term.expired():
                    raise Unauthenticated(
                        "the token has expired: call again with another"
                    ) from None
                raise

        return bounded

    async def _fail(self, method: str, context: Context, error: Exception) -> NoReturn:
        match error:
            case Refused():
                await _refuse(context, error)
            case LogDamaged():
                self._journal.error("log_damaged", method=method, error=str(error))
                await _refuse(context, DataLoss(_DAMAGED))
            case LogFailed():
                self._journal.error("log_unreadable", method=method, error=str(error))
                await _refuse(context, Stalled(_DISK_FAILS))
            case grpc.aio.AbortError():
                raise error
            case grpc.aio.InternalError():  # of a write: the caller is gone, and its call is over
                raise asyncio.CancelledError from error
            case _:  # a defect of the server
                await self._confess(method, context, error)

    async def _confess(self, method: str, context: Context, error: Exception) -> NoReturn:
        self.failures += 1
        self._journal.error("call_failed", method=method, failures=self.failures, exc_info=error)
        if isinstance(error, AssertionError):
            self._broken(error)
        await context.abort(
            grpc.StatusCode.INTERNAL, "something is wrong with the server; its log says what"
        )


def _shape(
    handler: grpc.RpcMethodHandler[Q, A],
) -> tuple[Callable[..., grpc.RpcMethodHandler[Q, A]], Serve[A]]:
    """The constructor of handlers that read a stream of requests, and this handler as a coroutine."""
    asks = "stream" if handler.request_streaming else "unary"
    answers = "stream" if handler.response_streaming else "unary"
    serve = getattr(handler, f"{asks}_{answers}")
    if inspect.isasyncgenfunction(serve):
        serve = _writing(serve)
    return getattr(grpc, f"stream_{answers}_rpc_method_handler"), serve


def _writing(generate: Callable[..., AsyncGenerator[A, None]]) -> Serve[A]:
    async def serve(request: object, context: Context) -> None:
        async with aclosing(generate(request, context)) as answers:
            async for answer in answers:
                await context.write(answer)

    return serve


async def _read(context: Context) -> bytes:
    try:
        async with asyncio.timeout(REQUEST_SECONDS_MAX) as term:
            request = await context.read()
    except TimeoutError:
        if not term.expired():
            raise
        raise Unreachable(
            f"the request did not arrive in REQUEST_SECONDS_MAX ({REQUEST_SECONDS_MAX} s)"
        ) from None
    if not isinstance(request, bytes):
        raise InvalidRequest("request", "is missing")
    return request


def _host(context: Context) -> str:
    """The address of the peer, without its port."""
    return str(context.peer()).rpartition(":")[0]


def _token(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer":
                return token.strip()
    return None


def _not_allowed(method: str, who: Caller) -> str:
    name = method.rpartition("/")[2]
    if not who.roles:
        return f"the token of {who.subject} has no role, so it may not call {name}"
    roles = " and ".join(sorted(who.roles))
    return f"the token of {who.subject} has the role {roles}, which may not call {name}"


async def _refuse(context: Context, refusal: Refused) -> NoReturn:
    details = str(refusal)[:DETAILS_CHARS_MAX]
    await context.abort(
        status_of(refusal),
        details.encode(errors="backslashreplace").decode(),
        trailing_metadata=((REFUSAL_KEY, type(refusal).__name__),),
    )
