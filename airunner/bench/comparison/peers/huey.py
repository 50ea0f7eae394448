"""Huey with Redis, set up by its guide. Huey enqueues one task in a call."""

import os

from huey import RedisHuey

from airunner.bench.comparison.peers.jobs import KINDS

huey = RedisHuey("bench", url=os.environ["BENCH_BROKER"])
TASKS = {kind: huey.task()(function) for kind, function in KINDS.items()}


def prepare() -> None:
    """Prepares nothing."""


def enqueue(kind: str, count: int) -> None:
    task = TASKS[kind]
    for _ in range(count):
        task()
