"""What watchers are told of an event, as bytes."""

from airunner.model.facts import Event, Reported
from airunner.model.job_events import JobEvent
from airunner.model.jobs import Instant, JobId, Position, Sequence
from airunner.model.reports import Chunk, Output, OutputCut, Report, Stream
from airunner.server.grpc.response_cache import CachedResponse, ResponseCache
from airunner.wire.codec.job_events import decode_job_event
from airunner.wire.job.v1 import job_pb2 as pb
from tests.promises import holds


def event(place: int, report: Report) -> Event:
    fact = Reported(JobId("job"), attempt=1, sent=place, report=report)
    return Event(Position(place), Instant(5), fact, Sequence(2 * place))


def output(size: int = 10) -> Output:
    chunk = Chunk(Stream.STDOUT, bytes(size), Instant(1))
    return Output((chunk, chunk))


def decoded(told: CachedResponse) -> JobEvent:
    response = pb.StreamJobEventsResponse.FromString(told.response)
    assert response.scanned_through == told.last
    assert response.event.event_type == told.type
    return decode_job_event(response.event)


def test_what_two_are_told_of_an_event_is_made_once() -> None:
    telling, written = ResponseCache(), event(1, output())
    told = telling.of(written)
    assert telling.of(written) is told
    assert decoded(told).body == output()


@holds("logs/watchers-are-independent")
def test_a_mark_in_the_place_of_output_is_told_as_a_mark() -> None:
    telling = ResponseCache()
    telling.of(event(1, output()))
    assert decoded(telling.of(event(1, OutputCut(2, 20)))).body == OutputCut(2, 20)


def test_the_newest_are_kept_up_to_a_size() -> None:
    telling = ResponseCache(size_max=5_000)
    events = [event(place, output(1_000)) for place in range(1, 10)]
    told = [telling.of(each) for each in events]
    assert telling.of(events[-1]) is told[-1]
    assert telling.of(events[-2]) is told[-2]
    assert telling.of(events[0]) is not told[0]
