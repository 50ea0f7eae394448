"""Which versions were measured, as words."""

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
    """Of the queues that are installed there, and of the brokers that there are."""
    found = {"other queues": ", ".join(_said([str(python), "-c", ASK, *NAMES]).splitlines())}
    if redis := shutil.which("redis-server"):
        found["Redis"] = _said([redis, "--version"]).partition("v=")[2].split(" ")[0]
    with suppress(Missing, IndexError):
        found["PostgreSQL"] = _said([postgres_program("postgres"), "--version"]).split()[2]
    return {name: version for name, version in found.items() if version}


def _said(argv: Sequence[str]) -> str:
    """What a program prints; "" if it cannot."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
