"""Celery, with the settings that its guide to optimising has for many short tasks.

Results are ignored, since nobody asks for them, and each child fetches 64 tasks ahead. It has no
way to put many tasks in line at once: a group sends one after the other. One producer
keeps its connection.
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
    """Nothing is to be made."""


def enqueue(kind: str, count: int) -> None:
    task = TASKS[kind]
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            task.apply_async(producer=producer)
