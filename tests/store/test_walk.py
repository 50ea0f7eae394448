"""Random walks through the core, and a crash at every step of the way.

Each walk checks every promise of invariants.py after each step and replays its
log into a twin, which must be its equal. Then it crashes: a prefix of the log is all
that is left, and the survivor is driven to the end of all its work. Nothing may get
stuck, whatever was cut off.

`make fuzz SEEDS=n` walks more often; a seed that fails fails every time.
"""

import os
import random
from collections.abc import Iterable

import pytest

from airunner.store.engine import replayed
from tests.promises import holds
from tests.store.invariants import INVARIANTS
from tests.store.walk import KEEP, Walk, drain, survivor

SEEDS = int(os.environ.get("AIRUNNER_SEEDS", "25"))


def walked(seed: int, steps: int) -> Walk:
    walk = Walk(random.Random(seed))
    walk.run(steps)
    return walk


def crash(walk: Walk, cuts: Iterable[int]) -> None:
    """Leave so much of the log, in each way; every survivor comes to its end."""
    for cut in cuts:
        left = survivor(walk, cut)
        drain(left)
        left.engine.check()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_promise_holds_on_a_random_walk_that_crashes(seed: int) -> None:
    walk = walked(seed, steps=400)
    assert len(walk.log) > 100
    twin = replayed(walk.log, KEEP)
    twin.watched.update(walk.engine.watched)
    assert list(twin.table.jobs()) == list(walk.engine.table.jobs())
    assert (twin.tail, twin.now) == (walk.engine.tail, walk.engine.now)
    assert twin.next_deadline() == walk.engine.next_deadline()
    for id in walk.history.events:
        for invariant in INVARIANTS:
            invariant(walk.history, twin, id)
    crash(walk, [*range(seed % 17, len(walk.log), 17), len(walk.log)])


@holds("jobs/acknowledged-job-exists")
@pytest.mark.parametrize("seed", range(3))
def test_a_crash_after_any_event_loses_nothing_before_it(seed: int) -> None:
    walk = walked(1_000_000 + seed, steps=80)
    crash(walk, range(len(walk.log) + 1))
