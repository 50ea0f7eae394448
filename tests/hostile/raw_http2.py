"""An HTTP/2 client that sends what no gRPC library would: half messages, lies, silence."""

import asyncio
import ssl
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

FRAME_BYTES: Final = 16_384
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_WINDOW_BYTES: Final = 65_535
_INITIAL_WINDOW: Final = 4  # a setting


class RawConnection:
    """One connection. Calls are streams 1, 3, 5 ...; each window is heeded, nothing else is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._initial = _WINDOW_BYTES
        self._connection_window = _WINDOW_BYTES
        self._windows: defaultdict[int, int] = defaultdict(int)
        self._news = asyncio.Condition()
        self._next = 1
        self.sent = 0  # bytes of data, on all streams
        self.ended: set[int] = set()  # streams that the server has ended
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._frame(_SETTINGS, 0, 0, b"")

    async def call(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> int:
        """Open a call, and return its stream."""
        stream, self._next = self._next, self._next + 2
        self._windows[stream] += self._initial
        block = b"".join(
            _literal(name, value)
            for name, value in (
                (":method", "POST"),
                (":scheme", "https"),
                (":path", path),
                (":authority", "localhost"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                *headers,
            )
        )
        self._frame(_HEADERS, 4, stream, block)
        await self._writer.drain()
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send data as fast as the server takes it; nothing more once the server ends the stream."""
        view = memoryview(data)
        while view and stream not in self.ended:
            async with self._news:
                await self._news.wait_for(lambda: self._room(stream) or stream in self.ended)
                size = min(len(view), self._room(stream), FRAME_BYTES)
                self._windows[stream] -= size
                self._connection_window -= size
            if stream in self.ended:
                return
            self._frame(_DATA, int(end and size == len(view)), stream, bytes(view[:size]))
            await self._writer.drain()
            view = view[size:]
            self.sent += size

    async def until_ended(self, stream: int) -> None:
        """Return once the server has ended a stream."""
        async with self._news:
            await self._news.wait_for(lambda: stream in self.ended)

    def _room(self, stream: int) -> int:
        return max(0, min(self._windows[stream], self._connection_window))

    def _frame(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        self._writer.write(struct.pack(">I", len(body))[1:] + bytes((kind, flags)))
        self._writer.write(struct.pack(">I", stream) + body)

    async def read(self) -> None:
        """Heed the server's frames until it closes the connection."""
        try:
            while True:
                head = await self._reader.readexactly(9)
                size = int.from_bytes(head[:3], "big")
                body = await self._reader.readexactly(size) if size else b""
                await self._heed(head[3], head[4], int.from_bytes(head[5:], "big"), body)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            async with self._news:
                self.ended.update(range(1, self._next, 2))
                self._news.notify_all()

    async def _heed(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        async with self._news:
            if kind == _SETTINGS and not flags & 1:
                for at in range(0, len(body), 6):
                    setting, value = struct.unpack_from(">HI", body, at)
                    if setting == _INITIAL_WINDOW:
                        for each in self._windows:
                            self._windows[each] += value - self._initial
                        self._initial = value
                self._frame(_SETTINGS, 1, 0, b"")
            elif kind == _PING and not flags & 1:
                self._frame(_PING, 1, 0, body)
            elif kind == _WINDOW:
                (more,) = struct.unpack(">I", body)
                if stream:
                    self._windows[stream] += more
                else:
                    self._connection_window += more
            if kind == _RESET or (kind in (_DATA, _HEADERS) and flags & 1):
                self.ended.add(stream)
            self._news.notify_all()


@asynccontextmanager
async def raw_connection(address: str, ca: Path) -> AsyncIterator[RawConnection]:
    """A connection for a block."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(
        host, int(port), ssl=context, server_hostname="localhost"
    )
    connection = RawConnection(reader, writer)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(connection.read())
        try:
            yield connection
        finally:
            reading.cancel()
            writer.transport.abort()


def message(data: bytes, *, compressed: bool = False, size: int | None = None) -> bytes:
    """A gRPC message; `size` is what its head claims."""
    return struct.pack(">BI", compressed, len(data) if size is None else size) + data


def _literal(name: str, value: str) -> bytes:
    """A header that is not indexed (RFC 7541, section 6.2.2), without Huffman codes."""
    return b"\0" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, digits = len(data) - 127, bytearray((127,))
    while rest >= 128:
        digits.append(rest & 127 | 128)
        rest >>= 7
    return bytes((*digits, rest)) + data
