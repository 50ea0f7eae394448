"""The other queues in the comparison, each with the set-ups that its guides recommend.

A queue has two set-ups if they differ: one worker process, and the recommendation for two
processors. docs/benchmarks.md gives the choices and the reasons.
"""

from dataclasses import dataclass
from typing import Final

PROCESSES: Final = 2  # of a worker for two processors


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue in one set-up."""

    name: str  # in tables
    broker: str  # a key of brokers.BROKERS
    peer: str  # the module of peers/ that enqueues its jobs
    worker: tuple[str, ...]  # arguments of the peers' Python; {broker} is its URL
    package: str  # the package that must be installed


def celery(name: str, broker: str, children: int) -> Queue:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING")
    return Queue(
        name=name,
        broker=broker,
        peer="celery",
        worker=(
            *("-m", "celery", "-A", "airunner.bench.comparison.peers.celery", "worker"),
            *("--pool=prefork", f"--concurrency={children}", *quiet),
        ),
        package="celery",
    )


def rq(name: str, *command: str) -> Queue:
    return Queue(
        name=name,
        broker="redis",
        peer="rq",
        worker=("-m", "rq.cli", *command, "--quiet", "--url", "{broker}", "bench"),
        package="rq",
    )


def dramatiq(name: str, broker: str, processes: int) -> Queue:
    return Queue(
        name=name,
        broker=broker,
        peer="dramatiq",
        worker=(
            *("-m", "dramatiq", "airunner.bench.comparison.peers.dramatiq"),
            *("--processes", str(processes), "--threads", "8"),
        ),
        package="dramatiq",
    )


def huey(name: str, workers: int, kind: str) -> Queue:
    return Queue(
        name=name,
        broker="redis",
        peer="huey",
        worker=(
            *(
                "-m",
                "huey.bin.huey_consumer",
                "airunner.bench.comparison.peers.huey.huey",
                "--quiet",
            ),
            *("--workers", str(workers), "--worker-type", kind),
        ),
        package="huey",
    )


def procrastinate(name: str, concurrency: int) -> Queue:
    return Queue(
        name=name,
        broker="postgres",
        peer="procrastinate",
        worker=(
            *("-m", "procrastinate", "--app", "airunner.bench.comparison.peers.procrastinate.app"),
            *("worker", "--concurrency", str(concurrency)),
        ),
        package="procrastinate",
    )


CELERY: Final = celery("Celery, 1 child", "redis", 1)
CELERY_2: Final = celery("Celery, 2 children", "redis", PROCESSES)
CELERY_SYNCED: Final = celery("Celery, 1 child, Redis synced", "redis-synced", 1)
RQ: Final = rq("RQ, Worker", "worker")
RQ_2: Final = rq("RQ, pool of 2 Workers", "worker-pool", "--num-workers", str(PROCESSES))
RQ_SIMPLE: Final = rq("RQ, SimpleWorker", "worker", "--worker-class", "rq.SimpleWorker")
DRAMATIQ: Final = dramatiq("Dramatiq, 1 process", "redis", 1)
DRAMATIQ_2: Final = dramatiq("Dramatiq, 2 processes", "redis", PROCESSES)
DRAMATIQ_SYNCED: Final = dramatiq("Dramatiq, 1 process, Redis synced", "redis-synced", 1)
HUEY: Final = huey("Huey, 1 thread", 1, "thread")
HUEY_2: Final = huey("Huey, 2 processes", PROCESSES, "process")
PROCRASTINATE: Final = procrastinate("Procrastinate, concurrency 1", 1)
PROCRASTINATE_30: Final = procrastinate("Procrastinate, concurrency 30", 30)

QUEUES: Final = (
    CELERY,
    CELERY_2,
    CELERY_SYNCED,
    RQ,
    RQ_SIMPLE,
    RQ_2,
    DRAMATIQ,
    DRAMATIQ_2,
    DRAMATIQ_SYNCED,
    HUEY,
    HUEY_2,
    PROCRASTINATE,
    PROCRASTINATE_30,
)
NAMES: Final = tuple(sorted({each.package for each in QUEUES}))
