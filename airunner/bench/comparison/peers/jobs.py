"""The functions of the measured jobs, the same for every queue.

Each job leaves a mark in a named pipe: the time of day in seconds, as a line. All processes of a
machine share the clock, so a late reader of the mark still has the exact time of the job.
"""

import os
import subprocess
import time

MARKS = os.environ["BENCH_MARKS"]  # the path of the pipe; the run reads it
# A command that writes the mark as its only act.
DATE = ("/bin/sh", "-c", 'exec date +%s.%N >"$0"', MARKS)

_pipe = os.open(MARKS, os.O_WRONLY)


def nothing() -> None:
    """Runs nothing. The mark is the time of the call."""
    os.write(_pipe, b"%.6f\n" % time.time())


def true() -> None:
    """Runs /bin/true. The mark is the time of its end."""
    subprocess.run(["/bin/true"], check=True)
    os.write(_pipe, b"%.6f\n" % time.time())


def date() -> None:
    """Runs a command that leaves the mark."""
    subprocess.run(DATE, check=True)


KINDS = {"nothing": nothing, "true": true, "date": date}
