"""A lifeline: a pipe that tells a child process that its parent has ended.

The parent holds the write end, the child the read end. The kernel closes the write end when the
parent ends, even by kill -9, and the child then reads the end of the pipe.
"""

import asyncio
import os
from collections.abc import Callable


def on_end(lifeline: int | None, call: Callable[[], None]) -> None:
    """Calls `call` as soon as every process has closed the write end of the pipe."""
    if lifeline is None:
        return
    loop = asyncio.get_running_loop()

    def end(descriptor: int) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        call()

    loop.add_reader(lifeline, end, lifeline)
