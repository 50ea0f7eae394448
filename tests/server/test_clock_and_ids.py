"""Time that never goes back, names that sort, and secrets that nobody guesses."""

import asyncio
import re
import uuid

from airunner.model.jobs import Instant
from airunner.server.ids import RandomIds
from airunner.system.clock import LoopClock
from tests.support.loop import virtually


@virtually
async def test_the_clock_is_the_wall_time_at_the_start_and_the_loops_since() -> None:
    clock = LoopClock(epoch=Instant(5_000))
    assert clock.now() == 5_000
    await asyncio.sleep(90.001)
    assert clock.now() == 95_001


@virtually
async def test_a_wall_clock_that_was_set_back_starts_where_the_log_ended() -> None:
    assert LoopClock(epoch=Instant(5_000), floor=Instant(7_000)).now() == 7_000
    assert LoopClock(epoch=Instant(5_000), floor=Instant(3_000)).now() == 5_000


@virtually
async def test_without_an_epoch_it_is_now() -> None:
    year_2020, year_2200 = 1_577_836_800_000, 7_258_118_400_000
    assert year_2020 < LoopClock().now() < year_2200


def test_job_ids_are_version_7_and_sort_in_the_order_in_which_they_were_made() -> None:
    ids = RandomIds()
    made = [ids.job() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", id) for id in made)
    first = uuid.UUID(made[0])
    assert (first.version, first.variant) == (7, uuid.RFC_4122)
    year_2020, year_2200 = 1_577_836_800_000, 7_258_118_400_000
    assert year_2020 < first.int >> 80 < year_2200


def test_tokens_have_192_random_bits() -> None:
    ids = RandomIds()
    made = {ids.token() for _ in range(1_000)}
    assert len(made) == 1_000
    assert {len(token) for token in made} == {32}
