"""A wrapper that ends a program and its session with the caller of the wrapper.

    python -m airunner.bench.comparison.lifeline SIGNAL ARGV...

The program runs in a session of its own; the first line of standard output is its process id.
When standard input ends, even because SIGKILL ended the caller, or when the program ends by
itself, the wrapper sends the signal to the program. After PATIENCE_SECONDS it sends SIGKILL to
the remaining processes of the session, stopped or not.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

PATIENCE_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.01  # between looks at the killed processes


def session(leader: int) -> Iterator[int]:
    """The ids of the processes of a session that have not ended."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # the process has ended
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] != "Z":
                    yield int(entry.name)


def send(leader: int, number: signal.Signals) -> None:
    """Sends a signal to every process of a session."""
    for pid in session(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the caller
    stop = signal.Signals[f"SIG{sys.argv[1]}"]
    with subprocess.Popen(
        sys.argv[2:],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
    ) as program:
        sys.stdout.write(f"{program.pid}\n")
        sys.stdout.flush()
        ended = os.pidfd_open(program.pid)
        select.select([sys.stdin, ended], [], [])
        program.send_signal(stop)
        if not select.select([ended], [], [], PATIENCE_SECONDS)[0]:
            program.kill()
        while list(session(program.pid)):
            send(program.pid, signal.SIGKILL)
            select.select([], [], [], LOOK_SECONDS)


if __name__ == "__main__":
    main()
