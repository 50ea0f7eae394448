"""The measures of the comparison, the same for every queue.

Every job leaves a mark with its time, in the worker. The producer notes the times before the first
call and after the last call.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import Final

from airunner.bench.comparison.cpu import busy_seconds
from airunner.bench.comparison.load import Load
from airunner.bench.report.figures import Sample, latency, rate

FIRST: Final = 20  # jobs in the first round, without a known rate
FEWEST: Final = 10
IDLE_SECONDS: Final = (0.05, 0.15)  # of an idle worker before each measured job


Once = Callable[[Load, int], Awaitable[Sample]]


async def sized_by_rate(once: Once, load: Load, seconds: float) -> Sample:
    """Runs as many jobs as fit in `seconds`, by the rate of the previous round or of FIRST jobs."""
    measure = once.__name__
    if measure not in load.rates:
        load.rates[measure] = (await once(load, FIRST)).value
        load.enqueue_rates.clear()
    sample = await once(load, max(FEWEST, round(load.rates[measure] * seconds)))
    load.rates[measure] = sample.value
    return sample


async def whole_noop_jobs(load: Load, count: int) -> Sample:
    """Measures no-op jobs that are enqueued while the worker runs.

    The clock runs from before the first enqueue until the last job has begun.
    """
    async with load.awake():
        before = busy_seconds()
        sent, last = await load.run("nothing", count)
        busy = busy_seconds() - before
    return rate(count, last - sent.start, busy=busy)


async def queued_noop_jobs(load: Load, count: int) -> Sample:
    """Measures no-op jobs that are all enqueued before the worker resumes.

    The clock runs from the worker's resumption until the last job has begun. The rate of the
    enqueue calls is stored for `enqueue_rate`.
    """
    async with load.awake():
        sent, elapsed = await load.run_later("nothing", count)
    load.enqueue_rates.append(rate(count, sent.end - sent.start))
    return rate(count, elapsed)


async def enqueue_rate(load: Load, _seconds: float) -> Sample:
    """Returns the rate of enqueued jobs from the next round of `queued_noop_jobs`."""
    return load.enqueue_rates.popleft()


async def true_jobs(load: Load, count: int) -> Sample:
    """Measures jobs of /bin/true, from before the first enqueue until the last job has ended."""
    async with load.awake():
        before = busy_seconds()
        if load.knows_ends:
            sent = await load.producer.send("true", count)
            last = sent.ended or sent.end
        else:
            sent, last = await load.run("true", count)
        busy = busy_seconds() - before
    return rate(count, last - sent.start, busy=busy)


async def start_latency(kind: str, dice: Random, load: Load, seconds: float) -> Sample:
    """Measures the latency from an enqueue to the job's run, one job at a time, idle worker."""
    times, end = list[float](), monotonic() + seconds
    async with load.awake():
        await load.run(kind, 1)
        while not times or monotonic() < end:
            await asyncio.sleep(dice.uniform(*IDLE_SECONDS))
            sent, mark = await load.run(kind, 1)
            times.append(mark - sent.start)
    return latency(times)
