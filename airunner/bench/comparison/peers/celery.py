"""Celery, with the settings of its optimising guide for many short tasks.

Results are ignored, since no caller reads them, and each child prefetches 64 tasks. Celery cannot
enqueue many tasks in one call: a group sends one message after the other. The producer keeps its
connection.
"""

import os

from celery import Celery

from airunner.bench.comparison.peers.jobs import KINDS

app = Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
)
TASKS = {kind: app.task(name=kind)(function) for kind, function in KINDS.items()}


def prepare() -> None:
    """Prepares nothing."""


def enqueue(kind: str, count: int) -> None:
    task = TASKS[kind]
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            task.apply_async(producer=producer)
