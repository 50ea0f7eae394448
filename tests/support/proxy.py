"""A proxy between clients and a server with faults: reset, refuse, silence, strand."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum


class Way(Enum):
    """A direction of bytes."""

    IN = "towards the server"
    OUT = "from the server"


_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on close, a reset instead of an orderly end


class Proxy:
    """Forwards connections to an address of this machine."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.away = False  # new connections are closed at once
        self._open = {
            way: threading.Event() for way in Way
        }  # set while bytes pass in the direction
        self._stranded: list[threading.Event] = []
        self._left: int | None = None  # bytes from the server until the silence
        self.silent = threading.Event()  # the silence of silence_after() has begun
        self.speak()
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def cut(self) -> None:
        """Resets every open connection."""
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)

    def silence(self, *ways: Way) -> None:
        """Stops forwarding in one or both directions, on old and new connections; closes none."""
        for way in ways or Way:
            self._open[way].clear()

    def silence_after(self, size: int) -> None:
        """Forwards `size` more bytes from the server, or a few more, and then nothing."""
        self._left = size

    def strand(self) -> None:
        """Stops forwarding for ever on the open connections, and closes none of them.

        A router that has lost its connection table behaves so. New connections work.
        """
        self._stranded += self._open.values()
        self.silence()
        self._open = {way: threading.Event() for way in Way}
        self.speak()

    def speak(self) -> None:
        """Resumes forwarding; bytes that arrived meanwhile go first."""
        for each in self._open.values():
            each.set()

    def close(self) -> None:
        self.away = True
        self.speak()
        for each in self._stranded:
            each.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _begin(self, call: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=call, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.away:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            self._ends += [near, far]
            self._begin(self._pass, near, far, self._open[Way.IN])
            self._begin(self._pass, far, near, self._open[Way.OUT], self._count)

    def _count(self, size: int) -> None:
        if self._left is None:
            return
        self._left -= size
        if self._left <= 0:
            self._left = None
            self.silence(Way.OUT)
            self.silent.set()

    def _pass(
        self,
        source: socket.socket,
        sink: socket.socket,
        open: threading.Event,
        count: Callable[[int], None] = lambda size: None,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(64 * 1024):
                open.wait()
                sink.sendall(data)
                count(len(data))
        open.wait()  # the end of a stream is forwarded like a byte
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    it = Proxy(target)
    try:
        yield it
    finally:
        it.close()
