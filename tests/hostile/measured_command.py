"""The command `airunner` in a process that writes each long step of its event loop to a file.

python -m tests.hostile.measured_command FILE server ...
"""

import os
import sys
from pathlib import Path
from typing import Final

from airunner.cli.main import main
from tests.hostile.steps import LongestStep, measured_steps

SHORTEST_SECONDS: Final = 0.005  # of a step that is written
ROOT: Final = Path(__file__).parents[2]


def measured_command(steps: Path) -> tuple[str, ...]:
    """The command's words. Its process needs the variables of `measured_environment`."""
    return (sys.executable, "-m", __name__, str(steps))


def measured_environment() -> dict[str, str]:
    """The variables with which the process finds this module."""
    return {"PYTHONPATH": str(ROOT)}


def longest_of(steps: Path, offset: int) -> LongestStep:
    """The longest of the steps that were written after the first `offset` bytes of the file."""
    found = LongestStep()
    for line in steps.read_bytes()[offset:].decode().splitlines():
        seconds, _, callback = line.partition(" ")
        found.note(float(seconds), callback)
    return found


def _run(steps: str) -> None:
    file = os.open(steps, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(seconds: float, callback: str) -> None:
        os.write(file, f"{seconds:.6f} {callback!r}\n".encode())

    with measured_steps(note, SHORTEST_SECONDS):
        main()


if __name__ == "__main__":
    _run(sys.argv.pop(1))
