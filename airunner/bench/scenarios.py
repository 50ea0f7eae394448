"""What is measured of airunner, each by a real server process, over TLS.

Each scenario says what it measures and what it leaves out. The caller runs in this
process: what it costs is in every number.
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from airunner.bench.figures import Figure, latencies, rate
from airunner.channel import Channel
from airunner.entries import Ended
from airunner.errors import Refused
from airunner.jobs import JobId, JobState, Millis, Outcome, Reason, RequestId, WorkerId
from airunner.reports import Output, ProcessStarted
from airunner.session import Assignment, Completion, Credit, FromServer, FromWorker, Hello, Settled
from airunner.spec import JobSpec
from airunner.wire.client import JobsClient

PROTOCOL_QUEUE: Final = "bench-protocol"
SLOTS: Final = 64  # of the worker that runs nothing
BATCH: Final = 100  # jobs in one EnqueueJobs
AHEAD: Final = 5  # batches in line at most
LOG_BYTES: Final = 64 * 1024 * 1024  # written by one job
WARM_UP: Final = 20  # jobs
NO_KEY: Final = RequestId("")


async def protocol(
    seconds: float, client: JobsClient, channel: Channel[FromWorker, FromServer]
) -> Figure:
    """No-op jobs: submitted, leased, completed and recorded, each with its own lease.

    Jobs arrive 100 in a call; one worker session with 64 slots completes each as soon as it has
    it. Leaves out the process, the workspace and the output.
    """
    nothing = JobSpec(command="true", queue=PROTOCOL_QUEUE)
    outcome = Outcome(reason=Reason.EXITED, exit_code=0)
    room = asyncio.Semaphore(AHEAD)
    settled = 0

    async def enqueue() -> None:
        while True:
            await room.acquire()
            await client.enqueue_many([(nothing, NO_KEY)] * BATCH)

    await channel.send(
        Hello(
            worker=WorkerId(f"bench-{perf_counter()}"),
            name="bench",
            queues=(PROTOCOL_QUEUE,),
            span=Millis(60_000),
            slots=SLOTS,
            credit=SLOTS,
        )
    )
    async with asyncio.TaskGroup() as tasks:
        enqueuing = tasks.create_task(enqueue())
        start = perf_counter()
        while perf_counter() < start + seconds:
            match await channel.receive():
                case Assignment(token=token):
                    await channel.send(Completion(token, 0, outcome))
                case Settled():
                    settled += 1
                    await channel.send(Credit(1))
                    if settled % BATCH == 0:
                        room.release()
        elapsed = perf_counter() - start
        enqueuing.cancel()
    await channel.close()
    return rate("no-op jobs", settled, elapsed, "jobs")


async def real_jobs(seconds: float, client: JobsClient, slots: int) -> Figure:
    """Real jobs: /bin/true in a workspace and a process tree of its own, its end recorded.

    A warm-up says how many fit in the time; they are submitted 100 in a call, and the clock stops
    when the last has ended. Leaves out git.
    """
    true = JobSpec(command="/bin/true")
    start = perf_counter()
    await _run_all(client, true, WARM_UP, slots)
    jobs = max(WARM_UP, round(WARM_UP / (perf_counter() - start) * seconds))
    start = perf_counter()
    await _run_all(client, true, jobs, slots)
    return rate("/bin/true jobs", jobs, perf_counter() - start, "jobs")


async def latency(seconds: float, client: JobsClient) -> Sequence[Figure]:
    """From submit to start, and to the end, of one /bin/true with an idle worker.

    Ends when the submitter has read that the process has started (and ended): so the way back
    is in it. Leaves out git.
    """
    started, ended = list[float](), list[float]()
    true = JobSpec(command="/bin/true")
    end = perf_counter() + seconds
    while (start := perf_counter()) < end:
        job = await client.enqueue(true)
        async for entry in client.watch(job.id):
            match entry.what:
                case ProcessStarted():
                    started.append(perf_counter() - start)
                case Ended():
                    ended.append(perf_counter() - start)
    return [*latencies("submit to start", started), *latencies("submit to end", ended)]


async def log_bytes(seconds: float, client: JobsClient) -> Figure:
    """Output from a command to one monitor: pipe, worker, server, log, and down to the watcher.

    The command is `head -c` of /dev/zero; the clock runs from its first bytes to its last.
    Leaves out a terminal, which the monitor command writes to.
    """
    size, elapsed = 0, 0.0
    zeros = JobSpec(command="head", args=("-c", str(LOG_BYTES), "/dev/zero"))
    while elapsed < seconds:
        job = await client.enqueue(zeros)
        start, last, received = 0.0, 0.0, 0
        async for entry in client.watch(job.id):
            if isinstance(entry.what, Output):
                last = perf_counter()
                start = start or last
                received += entry.what.size
        assert received == LOG_BYTES, f"{received} bytes of {LOG_BYTES} arrived"
        size, elapsed = size + received, elapsed + last - start
    return rate("log to one monitor", size / 1e6, elapsed, "MB")


async def _run_all(client: JobsClient, spec: JobSpec, jobs: int, slots: int) -> None:
    """Run so many jobs, and return when every one has ended."""
    ids: list[JobId] = []
    while len(ids) < jobs:
        wishes = [(spec, NO_KEY)] * min(BATCH, jobs - len(ids))
        for answer in await client.enqueue_many(wishes):
            if isinstance(answer, Refused):
                raise answer
            ids.append(answer.id)
    # One line, so when these have ended every one before them has.
    for id in ids[-slots:]:
        await _end(client, id)


async def _end(client: JobsClient, id: JobId) -> None:
    """Return when the job has ended well."""
    async for entry in client.watch(id):
        if isinstance(entry.what, Ended):
            assert entry.what.state is JobState.COMPLETED, entry.what.outcome
