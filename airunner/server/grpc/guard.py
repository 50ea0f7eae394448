"""The guard before every call: authentication, authorisation, and errors as gRPC statuses.

The guard authenticates each call except those of the health service, compares its action with the
table of roles, and ends it with UNAUTHENTICATED when its token expires. A refusal becomes its gRPC
status. Damaged events are DATA_LOSS to their reader and affect no other caller. Any other exception is
a defect of the server: it is logged, and the caller learns only that. A broken invariant ends the
server, because its answers can no longer be trusted.

Once the server stops, a new call gets UNAVAILABLE before any other check. gRPC itself would end it
with CANCELLED, and a client does not repeat a cancelled call.
"""

from __future__ import annotations  # classes are generic in the stubs only

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Final, NoReturn, TypeAlias, TypeVar

import grpc
from structlog.typing import FilteringBoundLogger

from airunner.log.log import LogDamaged
from airunner.model.errors import DataLoss, NotAllowed, Refused, ShuttingDown, Unauthenticated
from airunner.server.auth import Authenticator
from airunner.server.grpc.actions import ACTIONS, OPEN
from airunner.server.policy import Caller, may
from airunner.wire.codec.errors import REFUSAL_KEY, status_of

Q = TypeVar("Q")
A = TypeVar("A")
Serve: TypeAlias = Callable[..., Awaitable[A | None]]

DETAILS_CHARS_MAX: Final = 2_000  # error message, which travels in a header
_DAMAGED: Final = "what the server has of this job is damaged; the server's log says where, and what to do about it"
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

    def wrap(
        self, method: str, handler: grpc.RpcMethodHandler[Q, A]
    ) -> grpc.RpcMethodHandler[Q, A]:
        """The handler, behind the guard."""
        if method in OPEN:
            return handler
        make, serve = _shape(handler)
        if handler.request_streaming or handler.response_streaming:
            serve = self._until_expired(serve)

        async def guarded(request: Q, context: grpc.aio.ServicerContext[Q, A]) -> A | None:
            try:
                self._admit(method, context)
                return await serve(request, context)
            except Exception as error:
                await self._fail(method, context, error)

        return make(guarded, handler.request_deserializer, handler.response_serializer)

    def _admit(self, method: str, context: grpc.aio.ServicerContext[Q, A]) -> None:
        if self._stopping():
            raise ShuttingDown
        who = self._gate.authenticate(_token(context))
        if not may(ACTIONS.get(method), who.roles):
            raise NotAllowed(_not_allowed(method, who))
        _caller.set(who)

    def _until_expired(self, serve: Serve[A]) -> Serve[A]:
        """Serves a stream, and ends it when the caller's token expires.

        A unary call needs no such end: it waits for the log alone.
        """

        async def bounded(request: Q, context: grpc.aio.ServicerContext[Q, A]) -> A | None:
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

    async def _fail(
        self, method: str, context: grpc.aio.ServicerContext[Q, A], error: Exception
    ) -> NoReturn:
        match error:
            case Refused():
                await _refuse(context, error)
            case LogDamaged():
                self._journal.error("log_damaged", method=method, error=str(error))
                await _refuse(context, DataLoss(_DAMAGED))
            case grpc.aio.AbortError():
                raise error
            case _:  # a defect of the server
                await self._confess(method, context, error)

    async def _confess(
        self, method: str, context: grpc.aio.ServicerContext[Q, A], error: Exception
    ) -> NoReturn:
        self._journal.error("call_failed", method=method, exc_info=error)
        if isinstance(error, AssertionError):
            self._broken(error)
        await context.abort(
            grpc.StatusCode.INTERNAL, "something is wrong with the server; its log says what"
        )


def _shape(
    handler: grpc.RpcMethodHandler[Q, A],
) -> tuple[Callable[..., grpc.RpcMethodHandler[Q, A]], Serve[A]]:
    """The constructor of handlers of this kind, and this handler as a coroutine."""
    name = (
        f"{'stream' if handler.request_streaming else 'unary'}_"
        f"{'stream' if handler.response_streaming else 'unary'}"
    )
    serve = getattr(handler, name)
    if inspect.isasyncgenfunction(serve):
        serve = _writing(serve)
    return getattr(grpc, f"{name}_rpc_method_handler"), serve


def _writing(generate: Callable[..., AsyncGenerator[A, None]]) -> Serve[A]:
    async def serve(request: Q, context: grpc.aio.ServicerContext[Q, A]) -> None:
        async with aclosing(generate(request, context)) as answers:
            async for answer in answers:
                await context.write(answer)

    return serve


def _token(context: grpc.aio.ServicerContext[Q, A]) -> str | None:
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


async def _refuse(context: grpc.aio.ServicerContext[Q, A], refusal: Refused) -> NoReturn:
    await context.abort(
        status_of(refusal),
        str(refusal)[:DETAILS_CHARS_MAX],
        trailing_metadata=((REFUSAL_KEY, type(refusal).__name__),),
    )
