"""A few rounds of kill -9 under load; `make fuzz` fights many more."""

import subprocess
import sys
from pathlib import Path

from tests.rounds.__main__ import fight
from tests.support.installation import PATIENCE


def test_five_rounds_of_kills_lose_nothing_that_a_client_was_told(tmp_path: Path) -> None:
    counts, wrong = fight(tmp_path / "site", "5", 5, durable=True)
    assert not wrong
    assert counts["ended"] > 5


def test_four_rounds_of_power_cuts_and_dead_guards_lose_nothing_either() -> None:
    """A process of its own, whose mounts nobody else sees and which end with it."""
    kinds = ("power cut", "worker power cut", "supervisor")
    words = ["--rounds", "4", "--seed", "3", *(f"--only={kind}" for kind in kinds)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.rounds", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sound" in done.stdout
