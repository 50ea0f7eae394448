"""The event streams' calls: watching a job, and reporting on one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import grpc

from airunner.entries import Entry, entry, trimmed
from airunner.errors import InvalidRequest, ShuttingDown
from airunner.jobs import JobId, Sequence, TaskToken
from airunner.server.broker import Broker
from airunner.wire.entries import decode_filter, encode_entry, passes
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobEventsServiceServicer
from airunner.wire.reports import decode_reports


class EventsDoor(JobEventsServiceServicer):
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def StreamJobEvents(
        self,
        request: pb.StreamJobEventsRequest,
        context: grpc.aio.ServicerContext[pb.StreamJobEventsRequest, pb.StreamJobEventsResponse],
    ) -> AsyncIterator[pb.StreamJobEventsResponse]:
        """Each response is made when the caller has taken the one before it."""
        wanted = decode_filter(request.event_filter)
        scanned = sent = 0
        async with aclosing(self._entries(request)) as entries:
            async for each in entries:
                scanned = each.last
                event = encode_entry(each, JobId(request.job_id))
                if each.at >= request.from_timestamp and passes(event, wanted):
                    yield pb.StreamJobEventsResponse(event=event, scanned_through=scanned)
                    sent = scanned
        if request.stop_at_tail and scanned > sent:
            yield pb.StreamJobEventsResponse(scanned_through=scanned)

    async def PublishJobEvents(
        self,
        request_iterator: AsyncIterator[pb.PublishJobEventsRequest],
        context: grpc.aio.ServicerContext[pb.PublishJobEventsRequest, pb.PublishJobEventsResponse],
    ) -> pb.PublishJobEventsResponse:
        """One request is stored before the next is read."""
        last = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                ending = tasks.create_task(self._end_when_stopping())
                async for request in request_iterator:
                    reports = decode_reports(request.events)
                    last = await self._broker.publish(TaskToken(request.task_token), reports)
                ending.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return pb.PublishJobEventsResponse(last_sequence=last)

    async def _end_when_stopping(self) -> None:
        """A worker that has nothing to say for hours must not hold up the server's end."""
        await self._broker.stopped()
        raise ShuttingDown

    async def _entries(self, request: pb.StreamJobEventsRequest) -> AsyncGenerator[Entry, None]:
        """What follows, trimmed to what the caller has not seen: a cut may have grown since."""
        if request.from_sequence < 0:
            raise InvalidRequest("from_sequence", f"{request.from_sequence} is below 0")
        start = request.from_sequence or 1
        events = self._broker.watch(
            JobId(request.job_id),
            after=Sequence(start - 1),
            stop_at_tail=request.stop_at_tail,
        )
        async with aclosing(events):
            async for event in events:
                if (told := entry(event)) is not None:
                    yield trimmed(told, start)
                    start = told.last + 1
