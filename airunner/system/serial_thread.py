"""A thread that makes calls which may hang, one after the other.

A shared drive can block a thread for minutes. So each user of a drive has a thread of its own: no
other user waits for the drive, and the calls run in the order of their submission.

Rejected: the event loop's thread pool, whose few threads would all hang in the end; a
concurrent.futures executor, for which the process waits before it exits.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


class SerialThread:
    """A daemon thread that starts with the first submitted call and ends after close()."""

    def __init__(self, name: str) -> None:
        """`name` is the thread's name, for debuggers."""
        self._name = name
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def submit(self, call: Callable[[], object]) -> None:
        """Queues a call behind the earlier ones. The call must not raise."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put(call)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Queues a call and waits for its result; raises the call's exception.

        If this task is cancelled, the call is skipped, or runs on alone if it has started.
        """
        future: Future[Result] = Future()

        def run_call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except Exception as error:  # the waiting task raises it
                future.set_exception(error)

        self.submit(run_call)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the thread after the queued calls, without waiting. No call may be submitted later."""
        self._calls.put(None)

    def _work(self) -> None:
        while call := self._calls.get():
            call()
