"""A proxy that cuts its first connection after a number of bytes."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 16_384


class Cutter:
    """Listens on `address` and forwards to a server, but cuts its first connection.

    `after` is the number of the server's bytes before the cut. A context manager.
    """

    def __init__(self, server: str, *, after: int) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._left: int | None = after
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = [self._socket]
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def has_cut(self) -> bool:
        return self._left is None

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for end in self._ends:
            _shut(end)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._ends += [client, server]
            for source, target in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pass, args=(source, target, server))
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, target: socket.socket, server: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK):
                if source is server and self._left is not None:
                    self._left -= len(data)
                    if self._left < 0:
                        self._left = None
                        break
                target.sendall(data)
        except OSError:
            pass  # the other end is closed
        _shut(source)
        _shut(target)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):  # the socket is already shut down
        end.shutdown(socket.SHUT_RDWR)
