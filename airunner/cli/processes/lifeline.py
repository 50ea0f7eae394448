"""The end of a parent, as its child sees it: a pipe that nobody writes to is over.

However the parent ends, by kill -9 too, the kernel closes its end of the pipe. So a child
that holds the other end need not ask anybody whether it is still wanted.
"""

import asyncio
import os
from collections.abc import Callable


def on_end(lifeline: int | None, call: Callable[[], None]) -> None:
    """Call once every process that has the pipe's other end has closed it."""
    if lifeline is None:
        return
    loop = asyncio.get_running_loop()

    def end(descriptor: int) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        call()

    loop.add_reader(lifeline, end, lifeline)
