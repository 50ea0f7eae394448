"""airunner's own part: who puts jobs in line and who ends them, a process each, as with the others.

    python -m airunner.bench.comparison.ours produce ADDRESS CA_CERT MARKS SIZE
    python -m airunner.bench.comparison.ours work ADDRESS CA_CERT MARKS

What `produce` reads and answers is as in peers/produce.py. SIZE is how many jobs go in one call:
with 1, so many calls are on their way at once as are in CALLS, for its client is a coroutine. Of
/bin/true jobs it says too when the last had ended, as the log has it. `work` is a worker that
runs nothing: it ends each job when it has it, and marks when that was.
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
SLOTS: Final = 256  # of the worker that runs nothing
REAL_SLOTS: Final = 4 * (os.cpu_count() or 1)  # of the other one: most of a short job is waiting
HEARTBEAT_SECONDS: Final = 20.0
NO_KEY: Final = RequestId("")


class Producer:
    def __init__(self, client: JobsClient, marks: str, size: int) -> None:
        self._client = client
        self._size = size
        script = 'exec date +%s.%N >"$0"'
        self._specs = {
            "nothing": JobSpec(command="true", queue=PROTOCOL_QUEUE),
            "true": JobSpec(command="/bin/true"),
            "date": JobSpec(command="/bin/sh", args=("-c", script, marks)),
        }

    async def obey(self, kind: str, count: int) -> dict[str, float]:
        start = time()
        ids = await self._enqueue(self._specs[kind], count)
        answer = {"start": start, "end": time()}
        if kind == "true":
            await self._until_ended(ids[-REAL_SLOTS:])  # one line, so all before them have
            answer["ended"] = time()
        return answer

    async def _enqueue(self, spec: JobSpec, count: int) -> list[JobId]:
        if self._size > 1 and count > 1:
            ids = list[JobId]()
            while len(ids) < count:
                wishes = [(spec, NO_KEY)] * min(self._size, count - len(ids))
                for answer in await self._client.enqueue_many(wishes):
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


class Turns:
    """A channel on which heartbeats go out between what a session says, and not in the midst of it."""

    def __init__(self, channel: Channel[FromWorker, FromServer]) -> None:
        self._turn = asyncio.Lock()
        self._channel = channel
        self.receive = channel.receive
        self.receive_all = channel.receive_all
        self.close = channel.close

    async def send(self, message: FromWorker) -> None:
        await self.send_all((message,))

    async def send_all(self, messages: Iterable[FromWorker]) -> None:
        async with self._turn:
            await self._channel.send_all(messages)

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self.send(Heartbeat(()))


async def produce(endpoint: Endpoint, marks: str, size: int) -> None:
    async with JobsClient(endpoint) as client:
        producer = Producer(client, marks, size)
        await client.check()
        print("{}", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            print(json.dumps(await producer.obey(order["kind"], order["count"])), flush=True)


async def work(endpoint: Endpoint, marks: str) -> None:
    pipe = os.open(marks, os.O_WRONLY)
    channel = Turns(await connect(endpoint))
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
    what, address, ca_cert, marks, *size = sys.argv[1:]
    endpoint = Endpoint(server=address, ca_cert=Path(ca_cert))
    if what == "produce":
        asyncio.run(produce(endpoint, marks, int(size[0])))
    else:
        asyncio.run(work(endpoint, marks))


if __name__ == "__main__":
    main()
