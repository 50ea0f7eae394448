"""RQ. Jobs are plain functions; `enqueue_many` enqueues them in one pipeline of Redis."""

import os

from redis import Redis
from rq import Queue

from airunner.bench.comparison.peers.jobs import KINDS

BATCH = 100  # jobs in one pipeline

queue = Queue("bench", connection=Redis.from_url(os.environ["BENCH_BROKER"]))


def prepare() -> None:
    """Prepares nothing."""


def enqueue(kind: str, count: int) -> None:
    if count == 1:
        queue.enqueue(KINDS[kind])
        return
    job = Queue.prepare_data(KINDS[kind])
    for start in range(0, count, BATCH):
        queue.enqueue_many([job] * min(BATCH, count - start))
