"""What is measured of each, in the same way.

Every job leaves a mark with its time, in the worker, and who puts jobs in line notes the time
before the first and after the last. How many jobs there are in a round is what fits in the time,
by the rate of the round before.
"""

import asyncio
from random import Random
from time import monotonic
from typing import Final

from airunner.bench.figures import Sample, latency, rate
from benchmarks.cpu import busy_seconds
from benchmarks.party import Party

FIRST: Final = 20  # jobs, where no rate is known yet
FEWEST: Final = 10
IDLE_SECONDS: Final = (0.05, 0.15)  # of a worker, before a job comes whose latency is measured


async def whole(party: Party, seconds: float) -> Sample:
    """Jobs that run nothing, put in line while a worker works.

    From before the first is put in line until the last has begun.
    """
    count = _count(party, "whole", seconds)
    async with party.awake():
        before = busy_seconds()
        sent, last = await party.run("nothing", count)
        busy = busy_seconds() - before
    return _rated(party, "whole", count, last - sent.start, busy)


async def worked_off(party: Party, seconds: float) -> Sample:
    """Jobs that run nothing, and were all in line before the worker went on.

    From there until the last has begun. How long it took to put them in line is kept, for
    `put_in_line`.
    """
    count = _count(party, "worked off", seconds)
    async with party.awake():
        sent, elapsed = await party.run_later("nothing", count)
    party.put_in_line.append(rate(count, sent.end - sent.start))
    return _rated(party, "worked off", count, elapsed)


async def put_in_line(party: Party, _seconds: float) -> Sample:
    """Jobs that a queue takes while no worker takes any, as `worked_off` saw it round by round."""
    return party.put_in_line.popleft()


async def real(party: Party, seconds: float) -> Sample:
    """/bin/true as a process of its own, until the last has ended."""
    count = _count(party, "real", seconds)
    async with party.awake():
        before = busy_seconds()
        if party.knows_ends:
            sent = await party.producer.send("true", count)
            last = sent.ended or sent.end
        else:
            sent, last = await party.run("true", count)
        busy = busy_seconds() - before
    return _rated(party, "real", count, last - sent.start, busy)


async def soon(kind: str, dice: Random, party: Party, seconds: float) -> Sample:
    """From before a job is put in line until it runs, one at a time, with a worker that is idle."""
    times, end = list[float](), monotonic() + seconds
    async with party.awake():
        await party.run(kind, 1)
        while not times or monotonic() < end:
            await asyncio.sleep(dice.uniform(*IDLE_SECONDS))
            sent, mark = await party.run(kind, 1)
            times.append(mark - sent.start)
    return latency(times)


def _count(party: Party, measure: str, seconds: float) -> int:
    known = party.rates.get(measure)
    return FIRST if known is None else max(FEWEST, round(known * seconds))


def _rated(
    party: Party, measure: str, count: int, seconds: float, busy: float | None = None
) -> Sample:
    party.rates[measure] = count / seconds
    return rate(count, seconds, busy=busy)
