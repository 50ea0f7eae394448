"""Logs with many finished jobs, written by the engine without a network."""

from collections.abc import Iterator
from typing import Final

from msgspec import structs

from airunner.log.log import Log
from airunner.model.facts import Enqueued, Event, Fact, Finished, Leased, Reported
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobId,
    JobState,
    Lease,
    Millis,
    Outcome,
    Reason,
    RequestId,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.model.limits import BATCH_BYTES_MAX, GIB, MIB
from airunner.model.reports import Chunk, Output, ProcessEnded, ProcessStarted, Report, Stream
from airunner.model.spec import JobSpec
from airunner.store.engine import Engine
from airunner.store.retention import Retention

SPEC: Final = JobSpec(command="make", args=("test",), queue="bench-history")
EVERYTHING: Final = Retention(
    jobs_max=10**9,
    finished_max=10**9,
    output_bytes_per_job=1024 * GIB,
    output_bytes_total=1024 * GIB,
)
APPEND_BYTES: Final = 4 * MIB  # approximate output in one append
APPEND_EVENTS: Final = 2_000


def queue_of(number: int) -> str:
    """The queue of the jobs with `number`, modulo the number of queues."""
    return f"{SPEC.queue}-{number}"


async def write(log: Log, jobs: int, output_bytes: int, now: Instant, *, queues: int = 1) -> int:
    """Appends jobs that ran once and completed; returns the number of events.

    The jobs share `output_bytes` of output evenly, in reports of the largest size that a worker
    sends. The jobs go to `queues` queues in turn.
    """
    specs = [structs.replace(SPEC, queue=queue_of(number)) for number in range(queues)]
    engine, written = Engine(EVERYTHING), 0
    events, size = list[Event](), 0
    piece = bytes(range(256)) * (BATCH_BYTES_MAX // 256)
    for number in range(jobs):
        share = output_bytes * (number + 1) // jobs - output_bytes * number // jobs
        id = JobId(f"019a9d5e-7a5c-7000-8000-{number:012x}")
        events += engine.record(
            list(_life(id, specs[number % queues], number, piece, share, now)), now
        )
        size += share
        if len(events) >= APPEND_EVENTS or size >= APPEND_BYTES:
            await log.append(events)
            written, events, size = written + len(events), [], 0
    if events:
        await log.append(events)
    return written + len(events)


def _life(
    id: JobId, spec: JobSpec, number: int, piece: bytes, share: int, now: Instant
) -> Iterator[Fact]:
    """The facts of one job's life, output included."""
    lease = Lease(
        token=TokenDigest(number.to_bytes(16, "big")),
        worker=WorkerId("bench"),
        span=Millis(60_000),
        until=Instant(now + 60_000),
    )
    yield Enqueued(id, spec, RequestId(""), Subject("bench"), None)
    yield Leased(id, 1, lease)
    sent = 0
    for sent, report in enumerate(_reports(piece, share, now), 1):
        yield Reported(id, 1, sent, report)
    outcome = Outcome(reason=Reason.EXITED, exit_code=0, started_at=now, ended_at=now)
    yield Finished(id, 1, JobState.COMPLETED, outcome, AttemptEnd.FINISHED, 0)


def _reports(piece: bytes, share: int, now: Instant) -> Iterator[Report]:
    yield ProcessStarted(1, now)
    for start in range(0, share, len(piece)):
        yield Output((Chunk(Stream.STDOUT, piece[: share - start], now),))
    yield ProcessEnded(1, 0, Millis(1))
