"""A network between somebody and a server that a test can break: cut, take away, silence or strand."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum


class Way(Enum):
    """Which way bytes go."""

    IN = "towards the server"
    OUT = "from the server"


_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on close, a reset instead of an orderly end


class Proxy:
    """Passes connections on to an address of this machine."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.away = False  # new connections are closed at once
        self._open = {way: threading.Event() for way in Way}  # bytes may pass this way
        self._stranded: list[threading.Event] = []
        self._left: int | None = None  # bytes from the server until it is silent
        self.silent = threading.Event()  # it is, as silence_after() wanted
        self.speak()
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def cut(self) -> None:
        """Reset every connection there is."""
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)

    def silence(self, *ways: Way) -> None:
        """Pass nothing on, one way or both, on old connections and new ones; close nothing."""
        for way in ways or Way:
            self._open[way].clear()

    def silence_after(self, size: int) -> None:
        """Pass so many bytes more from the server, or a few more than that, and then nothing."""
        self._left = size

    def strand(self) -> None:
        """Pass nothing on for ever on the connections that there are, and close none of them.

        So it is when a machine on the way has lost its memory of them. New ones are as usual.
        """
        self._stranded += self._open.values()
        self.silence()
        self._open = {way: threading.Event() for way in Way}
        self.speak()

    def speak(self) -> None:
        """Pass on again, what has come meanwhile first."""
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
        open.wait()  # an end is passed on like a byte
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
