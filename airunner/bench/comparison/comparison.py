"""Who is measured in what, beside which baselines, and what airunner holds itself to."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from airunner.bench.comparison.load import Load
from airunner.bench.comparison.measures import filling, put_in_line, real, soon, whole, worked_off
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
from airunner.bench.comparison.setup import Setup, ours
from airunner.bench.load.bare_spawn import spawn
from airunner.bench.load.baselines import echo_channels, echoes, round_trip
from airunner.bench.report.figures import Bar, Figure, Sample
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting

DRAMATIQ_BAR: Final = Bar(1.5)  # whole no-op jobs a second, airunner with the memory log
ECHOES: Final = 32  # callers of the bare echo

ONE_WORKER: Final = (CELERY, RQ, RQ_SIMPLE, DRAMATIQ, HUEY, PROCRASTINATE, PROCRASTINATE_30)
TWO_WORKERS: Final = (CELERY_2, RQ_2, DRAMATIQ_2, HUEY_2, PROCRASTINATE_30)
SYNCED: Final = (CELERY_SYNCED, DRAMATIQ_SYNCED)

Measure = Callable[[Load, float], Awaitable[Sample]]


async def comparison(setting: Setting, site: Setup) -> list[Figure]:
    """All figures, table by table."""
    default = setting.sqlite("peers")
    mine = (ours(MEMORY), ours(default))
    more = (*mine, ours(MEMORY, one_by_one=True), ours(default, one_by_one=True))
    table = Tables(setting, site, reference=ours(default))
    others = (*ONE_WORKER, *SYNCED)
    async with echo_channels(setting, ECHOES) as channels:
        echo, bare = echoes(channels), round_trip(channels[0])
        bars = {ours(MEMORY): {DRAMATIQ.name: DRAMATIQ_BAR}}
        begun = partial(soon, "nothing", setting.dice("begun, idle"))
        command = partial(soon, "date", setting.dice("command, idle"))
        await table.add("whole no-op jobs", partial(filling, whole), more, QUEUES, echo, bars=bars)
        await table.add("no-op jobs worked off", partial(filling, worked_off), more, others)
        await table.add("jobs put in line", put_in_line, more, others)
        await table.add("/bin/true jobs", partial(filling, real), mine, TWO_WORKERS, spawn(setting))
        await table.add("from enqueue to begun", begun, mine, ONE_WORKER, bare, unit="ms")
        await table.add("from enqueue to a command", command, mine, ONE_WORKER, bare, unit="ms")
    return table.figures


class Tables:
    """Figures so far. In each table, everybody is compared with the reference."""

    def __init__(self, setting: Setting, site: Setup, *, reference: str) -> None:
        self._setting = setting
        self._site = site
        self._reference = reference
        self.figures = list[Figure]()

    async def add(
        self,
        name: str,
        measure: Measure,
        mine: Sequence[str],
        theirs: Sequence[Queue],
        *baselines: Contender,
        unit: str = "jobs/s",
        bars: dict[str, dict[str, Bar]] | None = None,
    ) -> None:
        """Measure those who are there."""
        there = [each for each in (*mine, *(queue.name for queue in theirs)) if self._has(each)]
        contenders = [
            Contender(
                name=each,
                unit=unit,
                run=partial(measure, self._site.parties[each]),
                against=self._against(each, (bars or {}).get(each, {})),
            )
            for each in there
        ]
        self.figures += await compare(
            name,
            [*baselines, *contenders],
            rounds=self._setting.rounds,
            seconds=self._setting.seconds,
            dice=self._setting.dice(name),
        )

    def _has(self, name: str) -> bool:
        return name in self._site.parties

    def _against(self, name: str, bars: dict[str, Bar]) -> dict[str, Bar | None]:
        against: dict[str, Bar | None] = {} if name == self._reference else {self._reference: None}
        return against | {other: bar for other, bar in bars.items() if self._has(other)}
