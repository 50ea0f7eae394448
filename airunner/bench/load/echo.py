"""The minimal gRPC server over TLS: an echo server, as the baseline of airunner's costs.

Runs as a process of its own (python -m airunner.bench.load.echo CERT KEY). The server prints its
port, and ends with its standard input. Messages are bytes: no protobuf, no checks, no tokens. The
cost of airunner is the difference to this server.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

SERVICE = "airunner.bench.Echo"

Context = grpc.aio.ServicerContext[bytes, bytes]


async def unary(request: bytes, context: Context) -> bytes:
    return request


async def stream(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def serve(certificate: bytes, key: bytes) -> None:
    """Serves on a free port of the loopback until standard input ends."""
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes()))
