"""The versions of the measured queues and brokers."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from airunner.bench.comparison.brokers import postgres_program
from airunner.bench.comparison.processes import Missing
from airunner.bench.comparison.queues import NAMES

ASK: Final = (
    "import sys; from importlib.metadata import version, PackageNotFoundError\n"
    "for name in sys.argv[1:]:\n"
    "    try: print(name, version(name))\n"
    "    except PackageNotFoundError: pass\n"
)


def versions(python: Path) -> Mapping[str, str]:
    """The versions of the installed queues and brokers, as text by name."""
    found = {"other queues": ", ".join(_output([str(python), "-c", ASK, *NAMES]).splitlines())}
    if redis := shutil.which("redis-server"):
        found["Redis"] = _output([redis, "--version"]).partition("v=")[2].split(" ")[0]
    with suppress(Missing, IndexError):
        found["PostgreSQL"] = _output([postgres_program("postgres"), "--version"]).split()[2]
    return {name: version for name, version in found.items() if version}


def _output(argv: Sequence[str]) -> str:
    """The output of a program; "" if the program cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
