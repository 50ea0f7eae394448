"""The servicer of events: streams of one job or of all jobs, and reports of workers."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Final

import grpc

from airunner.model.errors import DataLoss, InvalidRequest, ShuttingDown
from airunner.model.facts import Event
from airunner.model.job_events import JobEvent, without_before
from airunner.model.jobs import JobId, Position, Sequence, TaskToken
from airunner.model.spec import check_queue
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.grpc.guard import caller
from airunner.server.grpc.methods import Methods
from airunner.server.grpc.response_cache import ResponseCache, made, seen
from airunner.server.worker_calls import WorkerCalls
from airunner.wire.codec.all_events import decode_event_types, encode_events
from airunner.wire.codec.job_events import decode_filter, passes_filter
from airunner.wire.codec.report_parts import decode_reports_in_parts
from airunner.wire.job.v1 import job_pb2 as pb

PLACES_UNSAID_MAX: Final = 10_000  # filtered positions before a follower gets an empty response

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["JobEventsService"].full_name


class EventsServicer:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._clients = ClientCalls(broker)
        self._workers = WorkerCalls(broker)
        self._telling = ResponseCache()

    def add_to(self, methods: Methods) -> None:
        """Adds the methods as the generated function does, with responses that are encoded already."""
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
        """Makes each response after the caller has taken the one before.

        A response leaves out the sequences that the caller has: a mark of cut output may have grown.
        """
        if request.from_sequence < 0:
            raise InvalidRequest("from_sequence", f"{request.from_sequence} is below 0")
        wanted = decode_filter(request.event_filter)
        start = request.from_sequence or 1
        sent, scanned = 0, 0
        events = self._clients.watch(
            JobId(request.job_id), after=Sequence(start - 1), stop_at_tail=request.stop_at_tail
        )
        async with aclosing(events):
            async for event in events:
                if event.first < start:
                    told = made(event, without_before(seen(event), start))
                else:
                    told = self._telling.of(event)
                scanned, start = told.last, told.last + 1
                if told.at >= request.from_timestamp and passes_filter(told.type, wanted):
                    yield told.response
                    sent = scanned
        if request.stop_at_tail and scanned > sent:
            yield pb.StreamJobEventsResponse(scanned_through=scanned).SerializeToString()

    async def StreamEvents(
        self,
        request: pb.StreamEventsRequest,
        context: grpc.aio.ServicerContext[pb.StreamEventsRequest, pb.StreamEventsResponse],
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """Streams the events of all jobs; tells a caller with a narrow filter the position at times."""
        if request.queue:
            check_queue(request.queue)
        types, begin = decode_event_types(request.event_filter), self._beginning(request)
        watchers = self._broker.watchers
        async with aclosing(watchers.follow(begin)) as event_ranges:
            yield pb.StreamEventsResponse(place=begin, log=watchers.log)
            said = begin
            async for event_range in event_ranges:
                entries = self._visible(event_range.events, request.queue)
                for response in encode_events(entries, event_range.through, types):
                    if response.events or response.place - said >= PLACES_UNSAID_MAX:
                        yield response
                        said = Position(response.place)

    def _beginning(self, request: pb.StreamEventsRequest) -> Position:
        """The position at which a stream begins. Raises DataLoss if this log never reached it."""
        watchers = self._broker.watchers
        if not request.HasField("after_place"):
            return watchers.end
        if request.after_place < 0:
            raise InvalidRequest("after_place", f"{request.after_place} is below 0")
        place = Position(request.after_place)
        if not watchers.knows(request.log, place):
            raise DataLoss(
                f"the server's log has no place {place}: it has lost it, or is another one"
            )
        return place

    def _visible(
        self, events: Iterable[Event], queue: str
    ) -> Iterator[tuple[JobId, Position, JobEvent]]:
        """The events of jobs in the caller's namespace, and in `queue` unless that is empty.

        The events of a job that retention has removed meanwhile are left out.
        """
        namespace = caller().namespace
        for event in events:
            job = self._clients.find(event.job)
            if job is None or job.spec.namespace != namespace:
                continue
            if queue in ("", job.spec.queue):
                yield event.job, event.place, seen(event)

    async def PublishJobEvents(
        self,
        request_iterator: AsyncIterator[pb.PublishJobEventsRequest],
        context: grpc.aio.ServicerContext[pb.PublishJobEventsRequest, pb.PublishJobEventsResponse],
    ) -> pb.PublishJobEventsResponse:
        """Stores each request before it reads the next, a large request in parts."""
        last = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                ending = tasks.create_task(self._end_when_stopping())
                async for request in request_iterator:
                    token = TaskToken(request.task_token)
                    parts = decode_reports_in_parts(request.events, self._broker.now())
                    last = await self._workers.publish(token, next(parts, []))
                    for part in parts:
                        last = await self._workers.publish(token, part)
                ending.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return pb.PublishJobEventsResponse(last_sequence=last)

    async def _end_when_stopping(self) -> None:
        """Ends the call of a silent worker when the server stops."""
        await self._broker.stopped()
        raise ShuttingDown
