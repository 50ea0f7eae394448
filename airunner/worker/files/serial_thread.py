"""Calls that may hang, done one after the other in a thread of their own.

A shared drive can keep a thread for minutes. So whoever works on one has a thread for it: nobody
else waits, and the order of the calls is that in which they were asked for.

Rejected: the event loop's pool, whose few threads all would hang in the end, and an executor,
which a process that wants to end waits for.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


class SerialThread:
    """One thread, which begins with the first errand and ends with close()."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def send(self, call: Callable[[], object]) -> None:
        """Have it done, behind those before it. It must not raise."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._waiting.put(call)

    async def do(self, call: Callable[[], Result]) -> Result:
        """Its result, or what it raises. If this is cancelled it is not begun, or goes on alone."""
        future: Future[Result] = Future()

        def errand() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except Exception as error:  # whoever waits for it hears of it
                future.set_exception(error)

        self.send(errand)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the thread once everything is done; it is not waited for. Nothing may be sent later."""
        self._waiting.put(None)

    def _run(self) -> None:
        while call := self._waiting.get():
            call()
