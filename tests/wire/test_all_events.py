"""The codec of the stream of all jobs: batching into messages, and filtering by type."""

from airunner.model.job_events import JobCancelRequested, JobEvent, JobEventBody
from airunner.model.jobs import Instant, JobId, Position, Sequence, Subject
from airunner.model.limits import KIB, MESSAGE_BYTES_MAX, MESSAGES_TOGETHER_BYTES
from airunner.model.reports import Chunk, Output, OutputCut, Remark, Stream
from airunner.wire.codec.all_events import decode_event_types, encode_events
from airunner.wire.codec.job_events import decode_job_event
from airunner.wire.job.v1 import job_pb2 as pb

ALL = frozenset[int]()
ONE, TWO = JobId("one"), JobId("two")


def entries(*happenings: JobEventBody) -> list[tuple[JobId, Position, JobEvent]]:
    """Events at the positions 2, 4, 6 ..., of two jobs in turn."""
    return [
        (
            (ONE, TWO)[index % 2],
            Position(2 * index + 2),
            JobEvent(first=Sequence(1), last=Sequence(1), at=Instant(0), attempt=1, body=what),
        )
        for index, what in enumerate(happenings)
    ]


def output(text: str) -> Output:
    return Output((Chunk(Stream.STDOUT, text.encode(), Instant(0)),))


def test_what_there_is_to_say_travels_together() -> None:
    said: list[JobEventBody] = [
        output("a"),
        Remark("b"),
        OutputCut(1, 5),
        JobCancelRequested(Subject("c")),
    ]
    (response,) = encode_events(entries(*said), Position(11), ALL)
    assert [each.job_id for each in response.events] == [ONE, TWO, ONE, TWO]
    assert [decode_job_event(each.event).body for each in response.events] == said
    assert response.place == 11


def test_a_message_stays_below_its_bound_and_says_how_far_it_goes() -> None:
    big = Remark("x" * 600 * KIB)
    responses = list(encode_events(entries(*[big] * 7), Position(20), ALL))
    assert [len(each.events) for each in responses] == [2, 2, 2, 1]
    assert [each.place for each in responses] == [4, 8, 12, 20]
    assert all(each.ByteSize() < 2 * MESSAGES_TOGETHER_BYTES for each in responses)
    assert 2 * MESSAGES_TOGETHER_BYTES < MESSAGE_BYTES_MAX


def test_only_the_types_that_are_asked_for_are_told() -> None:
    said: list[JobEventBody] = [
        output("a"),
        Remark("b"),
        OutputCut(1, 5),
        JobCancelRequested(Subject("c")),
    ]
    types = decode_event_types([pb.EVENT_TYPE_REMARK, pb.EVENT_TYPE_CANCEL_REQUESTED])
    (response,) = encode_events(entries(*said), Position(9), types)
    assert [decode_job_event(each.event).body for each in response.events] == [said[1], said[3]]


def test_output_is_told_with_what_was_cut_of_it_whichever_type_is_named() -> None:
    said: list[JobEventBody] = [output("a"), Remark("b"), OutputCut(1, 5)]
    for type in (pb.EVENT_TYPE_OUTPUT, pb.EVENT_TYPE_OUTPUT_BATCH):
        (response,) = encode_events(entries(*said), Position(9), decode_event_types([type]))
        assert [decode_job_event(each.event).body for each in response.events] == [said[0], said[2]]


def test_a_stretch_of_which_nothing_is_told_says_how_far_it_goes() -> None:
    (response,) = encode_events([], Position(9), ALL)
    assert response == pb.StreamEventsResponse(place=9)
