"""The window on the newest events answers exactly, or not at all, and within its bound."""

from airunner.log.sqlite.event_cache import PAGE_EVENTS, EventCache
from airunner.model.facts import (
    CancelRequested,
    Event,
    Forgotten,
    OutputDropped,
    Renewed,
    Reported,
)
from airunner.model.jobs import (
    Instant,
    JobId,
    Lease,
    Millis,
    Position,
    Sequence,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.model.limits import KIB
from airunner.model.reports import Chunk, Output, Stream

ONE, TWO = JobId("one"), JobId("two")
AT = Instant(1_000)


def said(id: JobId, place: int, first: int, *texts: str) -> Event:
    chunks = tuple(Chunk(Stream.STDOUT, text.encode(), AT) for text in texts or ("x",))
    return Event(Position(place), AT, Reported(id, 1, 0, Output(chunks)), Sequence(first))


def test_a_job_is_told_on_from_any_sequence_that_the_window_reaches() -> None:
    recent = EventCache()
    events = [said(ONE, 1, 5, "a", "b"), said(ONE, 3, 7), said(ONE, 4, 8)]
    recent.add([events[0], said(TWO, 2, 1), *events[1:]])
    assert recent.since(ONE, 3) is None  # sequence 4 is missing
    assert recent.since(ONE, 4) == events
    assert recent.since(ONE, 5) == events
    assert recent.since(ONE, 6) == events[1:]
    assert recent.since(ONE, 8) == []
    assert recent.since(ONE, 99) == []


def test_of_an_unknown_job_it_says_nothing() -> None:
    assert EventCache().since(ONE, 0) is None


def test_what_no_watcher_sees_is_not_in_it() -> None:
    recent = EventCache()
    lease = Lease(token=TokenDigest(b""), worker=WorkerId("w"), span=Millis(1), until=AT)
    recent.add([said(ONE, 1, 1), Event(Position(2), AT, Renewed(ONE, lease), Sequence(1))])
    assert recent.since(ONE, 0) == [said(ONE, 1, 1)]


def test_the_oldest_leave_first_whatever_their_job() -> None:
    recent = EventCache(40 * KIB)
    for number in range(50):
        recent.add([said((ONE, TWO)[number % 2], 2 * number + 1, number // 2 + 1, "x" * KIB)])
    for id in (ONE, TWO):
        assert recent.since(id, 0) is None
        assert recent.since(id, 24) == [said(id, 99 if id == TWO else 97, 25, "x" * KIB)]
    assert recent._size <= 40 * KIB
    assert sum(len(run.events) - run.start for run in recent._jobs.values()) == len(recent._order)


def test_a_job_that_has_left_leaves_nothing() -> None:
    recent = EventCache(4 * KIB)
    recent.add([said(ONE, 1, 1)])
    recent.add([said(TWO, number, number) for number in range(2, 20)])
    assert recent.since(ONE, 1) is None
    assert set(recent._jobs) == {TWO}


def test_what_retention_has_touched_only_the_disk_knows() -> None:
    recent = EventCache()
    for place, fact in ((3, OutputDropped(ONE)), (3, Forgotten(ONE))):
        recent.add([said(ONE, 1, 1), said(TWO, 2, 1)])
        recent.add([Event(Position(place), AT, fact, Sequence(1))])
        assert recent.since(ONE, 0) is None
        assert recent.since(TWO, 0) == [said(TWO, 2, 1)]


def test_after_an_append_that_nobody_waited_for_it_begins_anew() -> None:
    recent = EventCache()
    recent.add([said(ONE, 1, 1)])
    event = Event(Position(5), AT, CancelRequested(ONE, 1, Subject("me")), Sequence(3))
    recent.add([event])
    assert recent.since(ONE, 0) is None
    assert recent.since(ONE, 2) == [event]


def test_one_answer_is_bounded() -> None:
    recent = EventCache()
    recent.add([said(ONE, number, number) for number in range(1, 2 * PAGE_EVENTS)])
    answer = recent.since(ONE, 0)
    assert answer is not None
    assert len(answer) == PAGE_EVENTS
    assert answer[-1].last == PAGE_EVENTS


def test_of_all_jobs_it_tells_what_has_a_higher_place() -> None:
    recent = EventCache()
    events = [said(ONE, 1, 1), said(TWO, 2, 1), said(ONE, 3, 2)]
    recent.add(events[:1])
    recent.add(events[1:])
    for place in range(5):
        assert recent.since_place(Position(place)) == events[place:]


def test_of_all_jobs_it_says_nothing_of_what_it_does_not_have_whole() -> None:
    recent = EventCache(4 * KIB)
    assert recent.since_place(Position(0)) is None
    recent.add([said(TWO, 7, 7)])  # after a restart
    assert recent.since_place(Position(5)) is None
    assert recent.since_place(Position(6)) == [said(TWO, 7, 7)]
    recent.add([said(ONE, 9, 9)])  # an append was not waited for
    assert recent.since_place(Position(7)) is None
    assert recent.since_place(Position(8)) == [said(ONE, 9, 9)]
    for place in range(10, 20):
        recent.add([said(ONE, place, place)])
    assert recent.since_place(Position(15)) is None
    assert recent.since_place(Position(19)) == []


def test_of_all_jobs_it_says_nothing_of_what_retention_has_touched() -> None:
    for fact in (OutputDropped(ONE), Forgotten(ONE)):
        recent = EventCache()
        recent.add([said(ONE, 1, 1), said(TWO, 2, 1), Event(Position(3), AT, fact, Sequence(1))])
        assert recent.since_place(Position(2)) is None
        assert recent.since_place(Position(3)) == []
        recent.add([Event(Position(4), AT, Forgotten(JobId("of old")), Sequence(1))])
        recent.add([said(TWO, 5, 2)])
        assert recent.since_place(Position(3)) == [said(TWO, 5, 2)]


def test_one_answer_of_all_jobs_is_bounded_and_the_oldest_of_it_first() -> None:
    recent = EventCache()
    events = [said(ONE, number, number) for number in range(1, 2 * PAGE_EVENTS)]
    recent.add(events)
    assert recent.since_place(Position(0)) == events[:PAGE_EVENTS]
    assert recent.since_place(Position(3)) == events[3 : PAGE_EVENTS + 3]
