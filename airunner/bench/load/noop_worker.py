"""A no-op worker: it completes each job on receipt and runs no process."""

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
SPAN: Final = Millis(12 * 3_600_000)  # the lease time: longer than any measurement
OUTCOME: Final = Outcome(reason=Reason.EXITED, exit_code=0)


class NoopWorker:
    """The stream of a worker that serves PROTOCOL_QUEUE."""

    def __init__(self, channel: Channel[FromWorker, FromServer]) -> None:
        self._channel = channel
        self.settled = 0  # jobs with an end in the log
        self.taken_at = 0.0  # when the latest job arrived, by perf_counter()

    async def hello(self, slots: int) -> None:
        """Announces the worker with `slots` free slots."""
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
        """Receives the pending messages, and answers all of them in one batch.

        A completed job frees its slot at once, as in a real worker: the credit for the next job
        does not wait until the end of the job is settled.
        """
        answers: list[FromWorker] = []
        for message in await self._channel.receive_all():
            match message:
                case Assignment(token=token):
                    self.taken_at = perf_counter()
                    answers.append(Completion(token, 0, OUTCOME))
                case Settled():
                    self.settled += 1
        if answers:
            await self._channel.send_all((*answers, Credit(len(answers))))

    async def close(self) -> None:
        await self._channel.close()
