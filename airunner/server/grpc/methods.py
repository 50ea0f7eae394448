"""Every method that the port serves, by its full name."""

from __future__ import annotations  # the stubs make generic what is not so when it runs

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # Any: each has messages of its own


class Methods(grpc.GenericRpcHandler):
    """A table of methods, each wrapped once, when it comes in.

    It stands where the generated functions that add a service expect a server. They offer each
    method twice, and a grpc.aio server that is given registered methods waits anew for every one
    of them, and for the next call, whenever a call comes: with our twenty that is 13 % of
    what a bare call costs it. So it is given this table alone.
    """

    def __init__(self, wrap: Callable[[str, Handler], Handler]) -> None:
        self._wrap = wrap
        self._handlers: dict[str, Handler] = {}

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            self._handlers[method] = self._wrap(method, handler)

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        """Nothing: the same methods come as registered ones too."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        return self._handlers.get(handler_call_details.method)
