"""The JSON of job events."""

import base64
import json

from airunner.model.artifacts import Artifact
from airunner.model.job_events import (
    ArtifactStored,
    JobEvent,
    JobEventBody,
    JobFinished,
    JobReturned,
)
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobState,
    Millis,
    Outcome,
    Reason,
    Sequence,
    StepResult,
)
from airunner.model.proof.seal import Link, Seal
from airunner.model.reports import (
    Chunk,
    Output,
    OutputCut,
    Remark,
    StepEnded,
    StepStarted,
    Stream,
)
from airunner.model.steps import StepStatus
from airunner.wire.json.events import JobEventsJson, event_json
from airunner.wire.json.times import show_instant

NOW = Instant(1_900_000_000_000)


def event(what: JobEventBody, first: int = 4, last: int = 4) -> JobEvent:
    return JobEvent(first=Sequence(first), last=Sequence(last), at=NOW, attempt=2, body=what)


def test_each_chunk_of_output_is_an_object_with_its_own_sequence() -> None:
    chunks = (Chunk(Stream.STDOUT, b"one\n", NOW), Chunk(Stream.STDERR, b"two\n", NOW))
    said = list(event_json(event(Output(chunks), 4, 5)))
    assert [(each["sequence"], each["stream"], each["output"]) for each in said] == [
        (4, "stdout", "one\n"),
        (5, "stderr", "two\n"),
    ]
    assert {(each["type"], each["attempt"]) for each in said} == {("output", 2)}


def test_every_event_has_the_servers_time_and_output_also_the_workers() -> None:
    chunk = Chunk(Stream.STDOUT, b"one\n", Instant(NOW - 40))
    (said,) = event_json(event(Output((chunk,))))
    assert (said["timestamp"], said["written_at"]) == (show_instant(NOW), show_instant(chunk.at))


def test_output_that_is_not_utf8_comes_with_its_bytes() -> None:
    (said,) = event_json(event(Output((Chunk(Stream.STDOUT, b"\xff\0", NOW),))))
    assert said["output"] == "\ufffd\0"
    assert base64.b64decode(str(said["output_base64"])) == b"\xff\0"


def test_the_end_is_told_with_its_outcome() -> None:
    outcome = Outcome(reason=Reason.SIGNALED, exit_code=137, signal=9, ended_at=NOW)
    (said,) = event_json(event(JobFinished(JobState.FAILED, outcome)))
    assert (said["type"], said["state"], said["reason"]) == ("finished", "failed", "signaled")
    assert (said["exit_code"], said["signal"], said["ended_at"]) == (137, 9, show_instant(NOW))


def test_output_says_which_step_wrote_it() -> None:
    chunk = Chunk(Stream.STDOUT, b"one\n", NOW)
    (of_a_step,), (of_none,) = (
        list(event_json(event(Output((chunk,), step)))) for step in (2, None)
    )
    assert (of_a_step["step"], of_none["step"]) == (2, None)


def test_steps_are_told_with_their_ends() -> None:
    (begun,) = event_json(event(StepStarted(1, "test")))
    assert (begun["type"], begun["index"], begun["name"]) == ("step_start", 1, "test")
    (over,) = event_json(event(StepEnded(1, "test", StepStatus.FAILED, 2, Millis(300))))
    assert (over["type"], over["index"], over["name"]) == ("step_end", 1, "test")
    assert (over["status"], over["exit_code"], over["duration_ms"]) == ("failed", 2, 300)
    assert json.loads(json.dumps(over)) == over


def test_the_end_of_a_job_of_steps_has_the_result_of_each() -> None:
    step = StepResult(
        name="test",
        status=StepStatus.FAILED,
        exit_code=2,
        started_at=NOW,
        ended_at=Instant(NOW + 300),
    )
    outcome = Outcome(reason=Reason.EXITED, exit_code=2, steps=(step,))
    (said,) = event_json(event(JobFinished(JobState.FAILED, outcome)))
    assert said["steps"] == [
        {
            "name": "test",
            "status": "failed",
            "exit_code": 2,
            "started_at": show_instant(NOW),
            "ended_at": show_instant(Instant(NOW + 300)),
            "duration_ms": 300,
        }
    ]


def test_an_artifact_is_told_with_its_size_and_digest() -> None:
    (said,) = event_json(event(ArtifactStored(Artifact(path="dist/app", size=9, sha256="0" * 64))))
    assert (said["type"], said["path"], said["size"]) == ("artifact", "dist/app", 9)
    assert (said["sha256"], said["executable"]) == ("0" * 64, False)


def test_a_seal_is_shown_with_its_digest_in_hexadecimal() -> None:
    seal = Seal(count=4, size=9, cut=0, digest=Link(bytes(range(32))))
    outcome = Outcome(reason=Reason.EXITED, exit_code=0)
    (said,) = event_json(event(JobFinished(JobState.COMPLETED, outcome, seal)))
    assert said["seal"] == {"count": 4, "size": 9, "cut": 0, "digest": bytes(range(32)).hex()}
    assert json.loads(json.dumps(said)) == said


TEXT = "aä€😀\r\nß".encode()


def outputs(*bodies: JobEventBody) -> list[tuple[object, object, bytes]]:
    """The sequence, the text and the bytes of each object of output, in order."""
    objects = JobEventsJson()
    said = [
        found
        for place, body in enumerate(bodies)
        for found in objects.objects(event(body, place, place))
    ]
    return [
        (
            found["sequence"],
            found["output"],
            base64.b64decode(str(found["output_base64"]))
            if "output_base64" in found
            else str(found["output"]).encode(),
        )
        for found in [*said, *objects.flush()]
        if found["type"] == "output"
    ]


def written(*pieces: bytes, stream: Stream = Stream.STDOUT, step: int | None = None) -> Output:
    return Output(tuple(Chunk(stream, piece, NOW) for piece in pieces), step)


def test_no_character_is_split_wherever_the_chunks_are_cut() -> None:
    for first in range(len(TEXT) + 1):
        for second in range(first, len(TEXT) + 1):
            pieces = TEXT[:first], TEXT[first:second], TEXT[second:]
            told = outputs(*(written(piece) for piece in pieces))
            assert len(told) == 3
            assert "".join(str(text) for _, text, _ in told) == TEXT.decode()
            assert outputs(written(*pieces)) == [
                (n, text, data) for n, (_, text, data) in enumerate(told)
            ]


def test_bytes_that_are_not_utf8_stay_in_the_object_of_their_chunk() -> None:
    assert outputs(
        written(b"\xff"), written(b"a\xc3"), written(b"b\xe0\x80"), written(b"\xf5")
    ) == [
        (0, "\ufffd", b"\xff"),
        (1, "a", b"a"),
        (2, "\ufffdb\ufffd\ufffd", b"\xc3b\xe0\x80"),
        (3, "\ufffd", b"\xf5"),
    ]


def test_output_that_ends_within_a_character_comes_with_its_bytes() -> None:
    assert outputs(written(b"a\xe2\x82")) == [(0, "a", b"a"), (0, "\ufffd", b"\xe2\x82")]
    for end in (StepStarted(1, "b"), OutputCut(9, 9), JobReturned(AttemptEnd.LAPSED, 1)):
        assert outputs(written(b"\xe2"), end, written(b"\x82")) == [
            *((0, "", b""), (0, "\ufffd", b"\xe2")),
            (2, "\ufffd", b"\x82"),
        ]
    assert outputs(written(b"\xe2", step=0), written(b"\x82", step=1))[1] == (0, "\ufffd", b"\xe2")


def test_the_characters_of_two_streams_do_not_mix() -> None:
    first, last = "ä".encode()[:1], "ä".encode()[1:]
    assert outputs(written(first), written(b"x", stream=Stream.STDERR), written(last)) == [
        (0, "", b""),
        (1, "x", b"x"),
        (2, "ä", "ä".encode()),
    ]
    assert [text for _, text, _ in outputs(written(first), Remark("!"), written(last))] == ["", "ä"]
