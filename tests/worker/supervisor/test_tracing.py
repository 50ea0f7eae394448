"""The secrets of a worker's own processes, from a command of the same user without privileges."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.promises import promise

WORKER: Final = """
import asyncio, os
from tests.zoo import SupervisorFixture, shell
LOOK = (
    "for pid in $0 $1 $PPID; do for name in environ mem fd/0; do"
    " ! head -c 1 /proc/$pid/$name >&2 || echo $pid $name; done; done; cat /proc/self/environ"
)
async def work():
    async with SupervisorFixture("subreaper") as it:
        pids = (str(os.getpid()), str(it.supervisor.pid))
        print((await it.run(*shell(LOOK), *pids))[1].decode())
asyncio.run(work())
"""
# A process of root without capabilities may do as much to others as any other user's process.
UNPRIVILEGED: Final = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@promise(
    "processes/guards-are-not-traced",
    "No command without privileges can trace its worker, its supervisor or its shim, nor read "
    "their memory, their environment or their open files.",
)
def test_a_command_without_privileges_cannot_look_into_its_worker_or_its_guards() -> None:
    without = UNPRIVILEGED if os.geteuid() == 0 else ()
    ran = subprocess.run(
        [*without, sys.executable, "-c", WORKER],
        env={**os.environ, "TOKEN": "of-the-worker"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == 10, ran.stdout
    output, errors = ran.stdout.rpartition("ZOO=")[0], ran.stdout.count("Permission denied")
    assert (errors, "of-the-worker" in output) == (9, False), ran.stdout
