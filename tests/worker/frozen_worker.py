"""A worker process that stops itself (SIGSTOP) when it is told to, for tests of what dies below it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class FrozenWorker:
    """A Python program that writes a line once its command runs, and freezes after it has read one."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self._popen = popen

    def ready(self) -> list[str]:
        """The words of the line that the program writes."""
        assert self._popen.stdout
        return self._popen.stdout.readline().split()

    def freeze(self) -> None:
        """Tells the program to freeze, and waits until it has."""
        print(file=self._popen.stdin, flush=True)
        stopped = os.waitid(os.P_PID, self._popen.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert stopped
        assert stopped.si_code == os.CLD_STOPPED


@contextmanager
def frozen_worker(program: str, *arguments: str) -> Iterator[FrozenWorker]:
    """The program for a block; killed at its end."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as popen:
        try:
            yield FrozenWorker(popen)
        finally:
            popen.kill()
