"""airunner's producer and worker in the comparison, a process each, as for the other queues.

    python -m airunner.bench.comparison.airunner_roles produce ADDRESS CA_CERT MARKS SIZE
    python -m airunner.bench.comparison.airunner_roles work ADDRESS CA_CERT MARKS

The input and output of `produce` are those of peers/produce.py. SIZE is the number of jobs in a
call: with 1, CALLS calls are in flight at once, since the client is a coroutine. For /bin/true
jobs, `produce` also answers when the end of the last job was in the log. `work` is a no-op worker:
it ends each job on receipt, and marks the time of the receipt.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter, time
from typing import Final

from airunner.bench.load.noop_worker import PROTOCOL_QUEUE, NoopWorker
from airunner.model.errors import Refused
from airunner.model.job_events import JobFinished
from airunner.model.jobs import JobId, JobState, RequestId
from airunner.model.protocol.channel import Channel
from airunner.model.protocol.worker_protocol import FromServer, FromWorker, Heartbeat
from airunner.model.spec import JobSpec
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.jobs_client import JobsClient
from airunner.worker.session.connect import connect

CALLS: Final = 32
SLOTS: Final = 256  # of the no-op worker
REAL_SLOTS: Final = 4 * (os.cpu_count() or 1)  # of the real worker: a short job mostly waits
HEARTBEAT_SECONDS: Final = 20.0
NO_KEY: Final = RequestId("")


class Producer:
    """The client that enqueues airunner's jobs."""

    def __init__(self, client: JobsClient, marks: str, size: int) -> None:
        self._client = client
        self._size = size
        script = 'exec date +%s.%N >"$0"'
        self._specs = {
            "nothing": JobSpec(command="true", queue=PROTOCOL_QUEUE),
            "true": JobSpec(command="/bin/true"),
            "date": JobSpec(command="/bin/sh", args=("-c", script, marks)),
        }

    async def run_order(self, kind: str, count: int) -> dict[str, float]:
        """Enqueues `count` jobs; returns the times of the first call and of the last answer."""
        start = time()
        ids = await self._enqueue(self._specs[kind], count)
        answer = {"start": start, "end": time()}
        if kind == "true":
            # A single queue: when the last jobs have ended, all earlier jobs have ended.
            await self._until_ended(ids[-REAL_SLOTS:])
            answer["ended"] = time()
        return answer

    async def _enqueue(self, spec: JobSpec, count: int) -> list[JobId]:
        if self._size > 1 and count > 1:
            ids = list[JobId]()
            while len(ids) < count:
                requests = [(spec, NO_KEY)] * min(self._size, count - len(ids))
                for answer in await self._client.enqueue_many(requests):
                    if isinstance(answer, Refused):
                        raise answer
                    ids.append(answer.id)
            return ids
        left = iter(range(count))
        found = list[JobId]()

        async def call() -> None:
            for _ in left:
                found.append((await self._client.enqueue(spec)).id)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(count, CALLS)):
                tasks.create_task(call())
        return found

    async def _until_ended(self, ids: Sequence[JobId]) -> None:
        for id in ids:
            async for entry in self._client.watch(id):
                if isinstance(entry.body, JobFinished):
                    assert entry.body.state is JobState.COMPLETED, entry.body.outcome


class SerializedChannel:
    """A channel with a lock: no heartbeat is sent in the middle of a batch of messages."""

    def __init__(self, channel: Channel[FromWorker, FromServer]) -> None:
        self._lock = asyncio.Lock()
        self._channel = channel
        self.receive = channel.receive
        self.receive_all = channel.receive_all
        self.close = channel.close

    async def send(self, message: FromWorker) -> None:
        await self.send_all((message,))

    async def send_all(self, messages: Iterable[FromWorker]) -> None:
        async with self._lock:
            await self._channel.send_all(messages)

    async def beat(self) -> None:
        """Sends a heartbeat every HEARTBEAT_SECONDS."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self.send(Heartbeat(()))


async def produce(endpoint: Endpoint, marks: str, size: int) -> None:
    """Runs the orders on standard input; prints an answer for each order."""
    async with JobsClient(endpoint) as client:
        producer = Producer(client, marks, size)
        await client.check()
        print("{}", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            print(json.dumps(await producer.run_order(order["kind"], order["count"])), flush=True)


async def work(endpoint: Endpoint, marks: str) -> None:
    """Ends each job on receipt, and writes a mark for each settled job."""
    pipe = os.open(marks, os.O_WRONLY)
    channel = SerializedChannel(await connect(endpoint))
    session = NoopWorker(channel)
    await session.hello(SLOTS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(channel.beat())
        settled = 0
        while True:
            await session.step()
            if ended := session.settled - settled:
                taken = time() - (perf_counter() - session.taken_at)
                os.write(pipe, b"%.6f\n" % taken * ended)
                settled += ended


def main() -> None:
    role, address, ca_cert, marks, *size = sys.argv[1:]
    endpoint = Endpoint(server=address, ca_cert=Path(ca_cert))
    if role == "produce":
        asyncio.run(produce(endpoint, marks, int(size[0])))
    else:
        asyncio.run(work(endpoint, marks))


if __name__ == "__main__":
    main()
