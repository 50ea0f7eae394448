"""Huey with Redis, as its guide sets it up. It puts one task in line after the other."""

import os

from huey import RedisHuey

from airunner.bench.comparison.peers.jobs import KINDS

huey = RedisHuey("bench", url=os.environ["BENCH_BROKER"])
TASKS = {kind: huey.task()(function) for kind, function in KINDS.items()}


def prepare() -> None:
    """Nothing is to be made."""


def enqueue(kind: str, count: int) -> None:
    task = TASKS[kind]
    for _ in range(count):
        task()
