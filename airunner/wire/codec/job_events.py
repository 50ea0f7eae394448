"""A job's stream on the wire, and the filter that a watcher may ask for.

A filter names the published types of event. Ours, from number 100 up, pass every
filter: without the end of a job or the mark of a cut no viewer could tell what it
has seen. OUTPUT and OUTPUT_BATCH are one and the same to a filter, because output
that was sent as the one is stored and shown as the other.
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
from airunner.wire.codec.reports import decode_report, fill_report
from airunner.wire.codec.seals import decode_seal, encode_seal
from airunner.wire.codec.times import decode_instant, fill_instant
from airunner.wire.job.v1 import job_pb2 as pb

EXTENSION_TYPES_MIN = 100  # from this number up
_OUTPUT = frozenset((int(pb.EVENT_TYPE_OUTPUT), int(pb.EVENT_TYPE_OUTPUT_BATCH)))


def fill_job_event(event: pb.JobEvent, entry: JobEvent, id: JobId | None = None) -> None:
    """Make an empty event say this; `id` is the job's, which a result repeats."""
    _fill(event, entry, id)
    fill_instant(event.timestamp, entry.at)
    event.attempt, event.link = entry.attempt, entry.link


def encode_stream_response(entry: JobEvent, id: JobId) -> tuple[int, bytes]:
    """The type of event, and a StreamJobEventsResponse that tells of it."""
    response = pb.StreamJobEventsResponse(scanned_through=entry.last)
    fill_job_event(response.event, entry, id)
    return response.event.event_type, response.SerializeToString()


def decode_job_event(event: pb.JobEvent) -> JobEvent:
    """The entry; InvalidRequest if the event is of a kind that is not known here."""
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
            if (report := decode_report(event)) is None:
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
    """The types that pass, ours left out; empty: all do."""
    wanted = frozenset(types)
    for each in wanted:
        if each not in pb.EventType.values() or not each:
            raise InvalidRequest("event_filter", f"{each} is not a type of event")
    return wanted | _OUTPUT if wanted & _OUTPUT else wanted


def encode_filter(kinds: Iterable[str]) -> list[pb.EventType.ValueType]:
    """The types of these kinds of happening, as entries.kind() names them."""
    types = []
    for kind in kinds:
        name = f"EVENT_TYPE_{kind.upper()}"
        if name not in pb.EventType.keys() or name == "EVENT_TYPE_UNSPECIFIED":  # noqa: SIM118 not a dict
            raise InvalidRequest("event_filter", f"{kind!r} is not a kind of event")
        types.append(pb.EventType.Value(name))
    return types


def passes_filter(type: int, wanted: frozenset[int]) -> bool:
    return not wanted or type >= EXTENSION_TYPES_MIN or type in wanted


def _fill(event: pb.JobEvent, entry: JobEvent, id: JobId | None) -> None:
    event.sequence = entry.first
    match entry.body:
        case JobEnqueued(queue, retry_of):
            event.event_type = pb.EVENT_TYPE_ENQUEUED
            event.enqueued.queue, event.enqueued.retry_of = queue, retry_of or ""
        case JobLeased(worker):
            event.event_type = pb.EVENT_TYPE_LEASED
            event.leased.attempt, event.leased.worker = entry.attempt, worker
        case JobReturned(ending, failures):
            event.event_type = pb.EVENT_TYPE_RETURNED
            event.returned.attempt, event.returned.failures = entry.attempt, failures
            event.returned.ending = ATTEMPT_ENDS.encode(ending)
        case JobCancelRequested(by):
            event.event_type = pb.EVENT_TYPE_CANCEL_REQUESTED
            event.cancel_requested.by = by
        case ArtifactStored(artifact):
            event.event_type = pb.EVENT_TYPE_ARTIFACT
            event.artifact.artifact.CopyFrom(encode_artifact(artifact))
        case JobFinished(state, outcome, seal):
            event.event_type = pb.EVENT_TYPE_FINISHED
            event.finished.MergeFrom(
                pb.FinishedEvent(
                    state=JOB_STATES.encode(state),
                    result=encode_outcome(outcome, id),
                    seal=encode_seal(seal),
                )
            )
        case report:
            fill_report(event, report, entry.first)


def _lifecycle_event(
    event: pb.JobEvent,
    at: Instant,
    what: JobEnqueued | JobLeased | JobReturned | JobCancelRequested | ArtifactStored | JobFinished,
) -> JobEvent:
    sequence = Sequence(event.sequence)
    return JobEvent(
        first=sequence,
        last=sequence,
        at=at,
        attempt=event.attempt,
        body=what,
        link=Link(event.link),
    )
