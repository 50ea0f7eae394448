"""The tables of the comparison: the queues, baselines and bars of each measure."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from airunner.bench.comparison.load import Load
from airunner.bench.comparison.measures import (
    enqueue_rate,
    queued_noop_jobs,
    sized_by_rate,
    start_latency,
    true_jobs,
    whole_noop_jobs,
)
from airunner.bench.comparison.queues import (
    CELERY,
    CELERY_2,
    CELERY_SYNCED,
    DRAMATIQ,
    DRAMATIQ_2,
    DRAMATIQ_SYNCED,
    HUEY,
    HUEY_2,
    PROCRASTINATE,
    PROCRASTINATE_30,
    QUEUES,
    RQ,
    RQ_2,
    RQ_SIMPLE,
    Queue,
)
from airunner.bench.comparison.setup import Setup, airunner_name
from airunner.bench.load.bare_spawn import spawn
from airunner.bench.load.baselines import echo_channels, echoes, round_trip
from airunner.bench.report.figures import Bar, Figure, Sample
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting

DRAMATIQ_BAR: Final = Bar(1.5)  # times Dramatiq, airunner with the memory log, whole no-op jobs
ECHOES: Final = 32  # concurrent callers of the bare echo

ONE_WORKER: Final = (CELERY, RQ, RQ_SIMPLE, DRAMATIQ, HUEY, PROCRASTINATE, PROCRASTINATE_30)
TWO_WORKERS: Final = (CELERY_2, RQ_2, DRAMATIQ_2, HUEY_2, PROCRASTINATE_30)
SYNCED: Final = (CELERY_SYNCED, DRAMATIQ_SYNCED)

Measure = Callable[[Load, float], Awaitable[Sample]]


async def comparison(setting: Setting, setup: Setup) -> list[Figure]:
    """Measures all tables in turn; returns their figures."""
    default = setting.sqlite("peers")
    own = (airunner_name(MEMORY), airunner_name(default))
    both_ways = (
        *own,
        airunner_name(MEMORY, one_by_one=True),
        airunner_name(default, one_by_one=True),
    )
    table = Tables(setting, setup, reference=airunner_name(default))
    one_worker = (*ONE_WORKER, *SYNCED)
    async with echo_channels(setting, ECHOES) as channels:
        echo, bare = echoes(channels), round_trip(channels[0])
        bars = {airunner_name(MEMORY): {DRAMATIQ.name: DRAMATIQ_BAR}}
        begun = partial(start_latency, "nothing", setting.dice("begun, idle"))
        command = partial(start_latency, "date", setting.dice("command, idle"))
        await table.add(
            "whole no-op jobs",
            partial(sized_by_rate, whole_noop_jobs),
            both_ways,
            QUEUES,
            echo,
            bars=bars,
        )
        await table.add(
            "no-op jobs worked off", partial(sized_by_rate, queued_noop_jobs), both_ways, one_worker
        )
        await table.add("jobs put in line", enqueue_rate, both_ways, one_worker)
        await table.add(
            "/bin/true jobs", partial(sized_by_rate, true_jobs), own, TWO_WORKERS, spawn(setting)
        )
        await table.add("from enqueue to begun", begun, own, ONE_WORKER, bare, unit="ms")
        await table.add("from enqueue to a command", command, own, ONE_WORKER, bare, unit="ms")
    return table.figures


class Tables:
    """The figures so far. In each table, every load has its ratio to the reference."""

    def __init__(self, setting: Setting, setup: Setup, *, reference: str) -> None:
        self._setting = setting
        self._setup = setup
        self._reference = reference
        self.figures = list[Figure]()

    async def add(
        self,
        name: str,
        measure: Measure,
        own: Sequence[str],
        peers: Sequence[Queue],
        *baselines: Contender,
        unit: str = "jobs/s",
        bars: dict[str, dict[str, Bar]] | None = None,
    ) -> None:
        """Measures the loads of a table that are running: airunner's own and the peers'."""
        names = [each for each in (*own, *(queue.name for queue in peers)) if self._has(each)]
        contenders = [
            Contender(
                name=each,
                unit=unit,
                run=partial(measure, self._setup.loads[each]),
                against=self._against(each, (bars or {}).get(each, {})),
            )
            for each in names
        ]
        self.figures += await compare(
            name,
            [*baselines, *contenders],
            rounds=self._setting.rounds,
            seconds=self._setting.seconds,
            dice=self._setting.dice(name),
        )

    def _has(self, name: str) -> bool:
        return name in self._setup.loads

    def _against(self, name: str, bars: dict[str, Bar]) -> dict[str, Bar | None]:
        against: dict[str, Bar | None] = {} if name == self._reference else {self._reference: None}
        return against | {other: bar for other, bar in bars.items() if self._has(other)}
