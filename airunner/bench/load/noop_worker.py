"""A worker that runs nothing: it completes each job as soon as it has it."""

from time import perf_counter
from typing import Final

from airunner.model.jobs import Millis, Outcome, Reason, WorkerId
from airunner.model.protocol.channel import Channel
from airunner.model.protocol.worker_protocol import (
    Assignment,
    Completion,
    Credit,
    FromServer,
    FromWorker,
    Hello,
    Settled,
)

PROTOCOL_QUEUE: Final = "bench-protocol"
SPAN: Final = Millis(12 * 3_600_000)  # of silence: nothing is measured for as long
OUTCOME: Final = Outcome(reason=Reason.EXITED, exit_code=0)


class NoopWorker:
    """One stream to a server, of a worker of PROTOCOL_QUEUE."""

    def __init__(self, channel: Channel[FromWorker, FromServer]) -> None:
        self._channel = channel
        self.settled = 0  # jobs whose end is in the log
        self.taken_at = 0.0  # when it had its latest job, by perf_counter()

    async def hello(self, slots: int) -> None:
        await self._channel.send(
            Hello(
                worker=WorkerId(f"bench-{perf_counter()}"),
                name="bench",
                queues=(PROTOCOL_QUEUE,),
                span=SPAN,
                slots=slots,
                credit=slots,
            )
        )

    async def step(self) -> None:
        """Receive what comes next, and answer all of it at once.

        A job that is completed makes room for the next, as with a real worker: it does not wait
        until its end is settled.
        """
        said: list[FromWorker] = []
        for message in await self._channel.receive_all():
            match message:
                case Assignment(token=token):
                    self.taken_at = perf_counter()
                    said.append(Completion(token, 0, OUTCOME))
                case Settled():
                    self.settled += 1
        if said:
            await self._channel.send_all((*said, Credit(len(said))))

    async def close(self) -> None:
        await self._channel.close()
