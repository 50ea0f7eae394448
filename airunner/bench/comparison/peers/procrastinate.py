"""Procrastinate on PostgreSQL. `batch_defer` enqueues many jobs with one statement.

The no-op task is a coroutine, Procrastinate's native kind. The tasks that run a command are
functions, each in a thread of the worker, as users write them.
"""

import os

import procrastinate
import psycopg

from airunner.bench.comparison.peers.jobs import KINDS, nothing

BATCH = 100  # jobs in one statement
BROKER = os.environ["BENCH_BROKER"]

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=BROKER))
# For the producer, which has no event loop.
sync_app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=BROKER))


async def nothing_async() -> None:
    nothing()


for kind, function in KINDS.items():
    app.task(name=kind)(nothing_async if function is nothing else function)


def prepare() -> None:
    """Creates the database and its tables."""
    server, _, database = BROKER.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}"')
    sync_app.open()
    sync_app.schema_manager.apply_schema()


def enqueue(kind: str, count: int) -> None:
    job = sync_app.configure_task(kind, allow_unknown=True)
    if count == 1:
        job.defer()
        return
    for start in range(0, count, BATCH):
        job.batch_defer(*({} for _ in range(min(BATCH, count - start))))
