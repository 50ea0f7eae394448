"""The event streams' calls: watching a job or all of them, and reporting on one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

import grpc

from airunner.entries import trimmed
from airunner.errors import InvalidRequest, ShuttingDown
from airunner.jobs import JobId, Place, Sequence, TaskToken
from airunner.server.broker import Broker
from airunner.server.methods import Methods
from airunner.server.streaming import PLACES_UNSAID_MAX, beginning, filter_of, responses
from airunner.server.telling import Telling, made, seen
from airunner.wire.entries import decode_filter, passes
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.reports import decode_reports

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["JobEventsService"].full_name


class EventsDoor:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._telling = Telling()

    def add_to(self, methods: Methods) -> None:
        """As the generated function does, but that what watchers are told is bytes already."""
        methods.add_registered_method_handlers(
            _SERVICE,
            {
                "StreamJobEvents": grpc.unary_stream_rpc_method_handler(
                    self.StreamJobEvents,
                    request_deserializer=pb.StreamJobEventsRequest.FromString,
                    response_serializer=bytes,
                ),
                "StreamEvents": grpc.unary_stream_rpc_method_handler(
                    self.StreamEvents,
                    request_deserializer=pb.StreamEventsRequest.FromString,
                    response_serializer=pb.StreamEventsResponse.SerializeToString,
                ),
                "PublishJobEvents": grpc.stream_unary_rpc_method_handler(
                    self.PublishJobEvents,
                    request_deserializer=pb.PublishJobEventsRequest.FromString,
                    response_serializer=pb.PublishJobEventsResponse.SerializeToString,
                ),
            },
        )

    async def StreamJobEvents(
        self,
        request: pb.StreamJobEventsRequest,
        context: grpc.aio.ServicerContext[pb.StreamJobEventsRequest, bytes],
    ) -> AsyncIterator[bytes]:
        """Each response is made when the caller has taken the one before it.

        It is trimmed to what the caller has not seen: a cut may have grown since.
        """
        if request.from_sequence < 0:
            raise InvalidRequest("from_sequence", f"{request.from_sequence} is below 0")
        wanted = decode_filter(request.event_filter)
        start = request.from_sequence or 1
        sent, scanned = 0, 0
        events = self._broker.watch(
            JobId(request.job_id), after=Sequence(start - 1), stop_at_tail=request.stop_at_tail
        )
        async with aclosing(events):
            async for event in events:
                if event.first < start:
                    told = made(event, trimmed(seen(event), start))
                else:
                    told = self._telling.of(event)
                scanned, start = told.last, told.last + 1
                if told.at >= request.from_timestamp and passes(told.type, wanted):
                    yield told.response
                    sent = scanned
        if request.stop_at_tail and scanned > sent:
            yield pb.StreamJobEventsResponse(scanned_through=scanned).SerializeToString()

    async def StreamEvents(
        self,
        request: pb.StreamEventsRequest,
        context: grpc.aio.ServicerContext[pb.StreamEventsRequest, pb.StreamEventsResponse],
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """What there is to say at a moment goes out together; the caller is told of long silences."""
        audience = self._broker.audience
        wanted, begin = filter_of(request, self._broker.table.find), beginning(request, audience)
        async with aclosing(audience.follow(begin)) as stretches:
            yield pb.StreamEventsResponse(place=begin, log=audience.log)
            said = begin
            async for stretch in stretches:
                for response in responses(stretch, wanted):
                    if response.events or response.place - said >= PLACES_UNSAID_MAX:
                        yield response
                        said = Place(response.place)

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
