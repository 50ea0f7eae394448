"""An HTTP proxy that knows one method, CONNECT, and leads every name to this machine."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class HttpProxy:
    """`asked` are the hosts and ports that clients asked for; `answer` is the proxy's status."""

    def __init__(self, answer: str = "200 Connection established") -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (more := near.recv(4096)):
                head += more
            method, target, _ = head.decode().split(" ", 2)
            assert method == "CONNECT"
            self.asked.append(target)
            near.sendall(f"HTTP/1.1 {self.answer}\r\n\r\n".encode())
            if not self.answer.startswith("200"):
                return
            with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as far:
                back = threading.Thread(target=_copy, args=(far, near), daemon=True)
                back.start()
                _copy(near, far)
                back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def http_proxy(answer: str = "200 Connection established") -> Iterator[HttpProxy]:
    it = HttpProxy(answer)
    try:
        yield it
    finally:
        it.close()
