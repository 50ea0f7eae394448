"""A few seeds of the simulation. `make fuzz SEEDS=n` runs more; a failed seed fails every time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises import holds
from tests.simulation.run import judge

SEEDS = 20
ROOT = Path(__file__).parent.parent.parent


@holds("jobs/time-moves-forward")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_promise_is_kept_in_a_world_where_everything_breaks(seed: int) -> None:
    verdict = judge(seed)
    assert not verdict.complaints, "\n".join(verdict.complaints)
    assert verdict.jobs


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    def story(hashes: str) -> bytes:
        command = [sys.executable, "-m", "tests.simulation", "--seed", "11"]
        environment = {**os.environ, "PYTHONHASHSEED": hashes}
        return subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
        ).stdout

    once = story("1")
    assert b"TROUBLE" in once
    assert once == story("2")
