"""The codec of job events, and of the filter by event type.

A filter lists event types of the published contract. airunner's own types, from number 100
up, pass every filter: a viewer needs the end of a job and the cuts of its output to know what
it has seen. A filter treats OUTPUT and OUTPUT_BATCH alike, because output that was sent as
OUTPUT is stored and sent on as OUTPUT_BATCH.
"""

from collections.abc import Iterable

from airunner.model.errors import InvalidRequest
from airunner.model.job_events import (
    ArtifactStored,
    JobCancelRequested,
    JobEnqueued,
    JobEvent,
    JobFinished,
    JobLeased,
    JobReturned,
)
from airunner.model.jobs import Instant, JobId, Sequence, Subject, WorkerId
from airunner.model.proof.seal import Link
from airunner.model.reports import count_sequences
from airunner.wire.codec.artifacts import decode_artifact, encode_artifact
from airunner.wire.codec.enums import ATTEMPT_ENDS, JOB_STATES
from airunner.wire.codec.outcomes import decode_outcome, encode_outcome
from airunner.wire.codec.reports import decode_stored_report, fill_report
from airunner.wire.codec.seals import decode_seal, encode_seal
from airunner.wire.codec.times import decode_instant, fill_instant
from airunner.wire.job.v1 import job_pb2 as pb

FIRST_EXTENSION_TYPE = 100  # the lowest number of airunner's own event types
_OUTPUT = frozenset((int(pb.EVENT_TYPE_OUTPUT), int(pb.EVENT_TYPE_OUTPUT_BATCH)))


def fill_job_event(message: pb.JobEvent, event: JobEvent, id: JobId | None = None) -> None:
    """Encode a job event into an empty message; `id` is the job's, which a JobResult repeats."""
    _fill_body(message, event, id)
    fill_instant(message.timestamp, event.at)
    message.attempt, message.link = event.attempt, event.link


def encode_stream_response(event: JobEvent, id: JobId) -> tuple[int, bytes]:
    """The event type of a job event, and its StreamJobEventsResponse in bytes."""
    response = pb.StreamJobEventsResponse(scanned_through=event.last)
    fill_job_event(response.event, event, id)
    return response.event.event_type, response.SerializeToString()


def decode_job_event(event: pb.JobEvent) -> JobEvent:
    """Decode a job event. Raises InvalidRequest for an unknown kind of event."""
    at = decode_instant(event.timestamp, "event.timestamp") or Instant(0)
    match event.WhichOneof("event_data"):
        case "enqueued":
            retry_of = JobId(event.enqueued.retry_of) if event.enqueued.retry_of else None
            return _lifecycle_event(event, at, JobEnqueued(event.enqueued.queue, retry_of))
        case "leased":
            return _lifecycle_event(event, at, JobLeased(WorkerId(event.leased.worker)))
        case "returned":
            ending = ATTEMPT_ENDS.decode(event.returned.ending, "returned.ending")
            return _lifecycle_event(event, at, JobReturned(ending, event.returned.failures))
        case "cancel_requested":
            return _lifecycle_event(
                event, at, JobCancelRequested(Subject(event.cancel_requested.by))
            )
        case "artifact":
            return _lifecycle_event(
                event, at, ArtifactStored(decode_artifact(event.artifact.artifact))
            )
        case "finished":
            state = JOB_STATES.decode(event.finished.state, "finished.state")
            outcome = decode_outcome(event.finished.result)
            return _lifecycle_event(
                event, at, JobFinished(state, outcome, decode_seal(event.finished))
            )
        case _:
            if (report := decode_stored_report(event)) is None:
                raise InvalidRequest("output_batch", "is empty")
            return JobEvent(
                first=Sequence(event.sequence),
                last=Sequence(event.sequence + count_sequences(report) - 1),
                at=at,
                attempt=event.attempt,
                body=report,
                link=Link(event.link),
            )


def decode_filter(types: Iterable[int]) -> frozenset[int]:
    """The published event types that pass a filter. Empty: all types."""
    wanted = frozenset(types)
    for each in wanted:
        if each not in pb.EventType.values() or not each:
            raise InvalidRequest("event_filter", f"{each} is not a type of event")
    return wanted | _OUTPUT if wanted & _OUTPUT else wanted


def encode_filter(kinds: Iterable[str]) -> list[pb.EventType.ValueType]:
    """The event types of kinds of events, as job_events.event_kind() names them."""
    types = []
    for kind in kinds:
        name = f"EVENT_TYPE_{kind.upper()}"
        if name not in pb.EventType.keys() or name == "EVENT_TYPE_UNSPECIFIED":  # noqa: SIM118 not a dict
            raise InvalidRequest("event_filter", f"{kind!r} is not a kind of event")
        types.append(pb.EventType.Value(name))
    return types


def passes_filter(type: int, wanted: frozenset[int]) -> bool:
    """Tells whether an event of this type passes a filter of decode_filter()."""
    return not wanted or type >= FIRST_EXTENSION_TYPE or type in wanted


def _fill_body(message: pb.JobEvent, event: JobEvent, id: JobId | None) -> None:
    message.sequence = event.first
    match event.body:
        case JobEnqueued(queue, retry_of):
            message.event_type = pb.EVENT_TYPE_ENQUEUED
            message.enqueued.queue, message.enqueued.retry_of = queue, retry_of or ""
        case JobLeased(worker):
            message.event_type = pb.EVENT_TYPE_LEASED
            message.leased.attempt, message.leased.worker = event.attempt, worker
        case JobReturned(ending, failures):
            message.event_type = pb.EVENT_TYPE_RETURNED
            message.returned.attempt, message.returned.failures = event.attempt, failures
            message.returned.ending = ATTEMPT_ENDS.encode(ending)
        case JobCancelRequested(by):
            message.event_type = pb.EVENT_TYPE_CANCEL_REQUESTED
            message.cancel_requested.by = by
        case ArtifactStored(artifact):
            message.event_type = pb.EVENT_TYPE_ARTIFACT
            message.artifact.artifact.CopyFrom(encode_artifact(artifact))
        case JobFinished(state, outcome, seal):
            message.event_type = pb.EVENT_TYPE_FINISHED
            message.finished.MergeFrom(
                pb.FinishedEvent(
                    state=JOB_STATES.encode(state),
                    result=encode_outcome(outcome, id),
                    seal=encode_seal(seal),
                )
            )
        case report:
            fill_report(message, report, event.first)


def _lifecycle_event(
    event: pb.JobEvent,
    at: Instant,
    body: JobEnqueued | JobLeased | JobReturned | JobCancelRequested | ArtifactStored | JobFinished,
) -> JobEvent:
    sequence = Sequence(event.sequence)
    return JobEvent(
        first=sequence,
        last=sequence,
        at=at,
        attempt=event.attempt,
        body=body,
        link=Link(event.link),
    )
