"""Dramatiq, set up by its user guide. A group sends one message after the other."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from airunner.bench.comparison.peers.jobs import KINDS

broker = RedisBroker(url=os.environ["BENCH_BROKER"])
dramatiq.set_broker(broker)
ACTORS = {
    kind: dramatiq.actor(function, actor_name=kind, broker=broker)
    for kind, function in KINDS.items()
}


def prepare() -> None:
    """Prepares nothing."""


def enqueue(kind: str, count: int) -> None:
    actor = ACTORS[kind]
    for _ in range(count):
        actor.send()
