"""The methods of the port by their full names."""

from __future__ import annotations  # classes are generic in the stubs only

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # Any: each has messages of its own


class Methods(grpc.GenericRpcHandler):
    """A table of methods, each wrapped once when it is added.

    The generated functions that add a service get this table instead of a server. They offer each
    method twice, and a grpc.aio server with registered methods waits anew for each of them whenever a
    call comes: with our twenty that is 13 % of the cost of a bare call. The server gets this table
    alone.
    """

    def __init__(self, wrap: Callable[[str, Handler], Handler]) -> None:
        self._wrap = wrap
        self._handlers: dict[str, Handler] = {}

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            self._handlers[method] = self._wrap(method, handler)

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        """Does nothing: the same methods are offered as registered methods too."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        return self._handlers.get(handler_call_details.method)
