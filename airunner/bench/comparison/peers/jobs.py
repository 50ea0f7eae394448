"""What the measured jobs do, whichever queue runs them.

Each leaves a mark in a named pipe: the time of day in seconds, as a line. Clocks of
one machine agree, so whoever reads the mark later knows when the job was there.
"""

import os
import subprocess
import time

MARKS = os.environ["BENCH_MARKS"]  # the path of the pipe, which somebody reads
# A command that leaves its mark by itself, as its first and only act.
DATE = ("/bin/sh", "-c", 'exec date +%s.%N >"$0"', MARKS)

_pipe = os.open(MARKS, os.O_WRONLY)


def nothing() -> None:
    """Run nothing. The mark says when the function was entered."""
    os.write(_pipe, b"%.6f\n" % time.time())


def true() -> None:
    """Run /bin/true. The mark says when it had ended."""
    subprocess.run(["/bin/true"], check=True)
    os.write(_pipe, b"%.6f\n" % time.time())


def date() -> None:
    """Run a command that leaves the mark."""
    subprocess.run(DATE, check=True)


KINDS = {"nothing": nothing, "true": true, "date": date}
