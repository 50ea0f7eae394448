"""Handlers for the signals that stop a process: SIGTERM, SIGINT and, where asked for, SIGHUP.

The first signal usually begins an orderly stop, and a second one shortens it. The handlers run on
the event loop between two callbacks. asyncio's default for SIGINT raises an exception in
whichever line Python runs at that moment, where it may be lost.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence

Call = Callable[[], object]


def on_stop_signals(
    first: Call, again: Call | None = None, *, hangup: bool = False
) -> Sequence[int]:
    """Installs handlers: the first signal calls `first`, each later one `again` (default: `first`).

    With `hangup`, the end of the terminal (SIGHUP) counts too, unless the process ignores it, as
    under nohup. Returns the numbers of the signals that have arrived, oldest first; the list grows.
    """
    received: list[int] = []

    def handle(number: int) -> None:
        received.append(number)
        call = first if again is None or len(received) == 1 else again
        call()

    numbers = [signal.SIGTERM, signal.SIGINT]
    if hangup and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, handle, number)
    return received
