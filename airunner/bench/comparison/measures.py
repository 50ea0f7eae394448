"""What is measured of each, in the same way.

Every job leaves a mark with its time, in the worker, and who puts jobs in line notes the time
before the first and after the last.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import Final

from airunner.bench.comparison.cpu import busy_seconds
from airunner.bench.comparison.load import Load
from airunner.bench.report.figures import Sample, latency, rate

FIRST: Final = 20  # jobs, where no rate is known yet
FEWEST: Final = 10
IDLE_SECONDS: Final = (0.05, 0.15)  # of a worker, before a job comes whose latency is measured


Once = Callable[[Load, int], Awaitable[Sample]]


async def filling(once: Once, party: Load, seconds: float) -> Sample:
    """As many jobs as fit in the time, by the rate of the round before, or of a few jobs."""
    what = once.__name__
    if what not in party.rates:
        party.rates[what] = (await once(party, FIRST)).value
        party.put_in_line.clear()
    sample = await once(party, max(FEWEST, round(party.rates[what] * seconds)))
    party.rates[what] = sample.value
    return sample


async def whole(party: Load, count: int) -> Sample:
    """Jobs that run nothing, put in line while a worker works.

    From before the first is put in line until the last has begun.
    """
    async with party.awake():
        before = busy_seconds()
        sent, last = await party.run("nothing", count)
        busy = busy_seconds() - before
    return rate(count, last - sent.start, busy=busy)


async def worked_off(party: Load, count: int) -> Sample:
    """Jobs that run nothing, and were all in line before the worker went on.

    From there until the last has begun. How long it took to put them in line is kept, for
    `put_in_line`.
    """
    async with party.awake():
        sent, elapsed = await party.run_later("nothing", count)
    party.put_in_line.append(rate(count, sent.end - sent.start))
    return rate(count, elapsed)


async def put_in_line(party: Load, _seconds: float) -> Sample:
    """Jobs that a queue takes while no worker takes any, as `worked_off` saw it round by round."""
    return party.put_in_line.popleft()


async def real(party: Load, count: int) -> Sample:
    """/bin/true as a process of its own, until the last has ended."""
    async with party.awake():
        before = busy_seconds()
        if party.knows_ends:
            sent = await party.producer.send("true", count)
            last = sent.ended or sent.end
        else:
            sent, last = await party.run("true", count)
        busy = busy_seconds() - before
    return rate(count, last - sent.start, busy=busy)


async def soon(kind: str, dice: Random, party: Load, seconds: float) -> Sample:
    """From before a job is put in line until it runs, one at a time, with a worker that is idle."""
    times, end = list[float](), monotonic() + seconds
    async with party.awake():
        await party.run(kind, 1)
        while not times or monotonic() < end:
            await asyncio.sleep(dice.uniform(*IDLE_SECONDS))
            sent, mark = await party.run(kind, 1)
            times.append(mark - sent.start)
    return latency(times)
