"""The codec of reports.

A worker of the published contract sends OUTPUT or OUTPUT_BATCH events; both are decoded as
Output. In an event from a worker, `sequence` is the worker's number of the report (of a
batch: of its first item), or 0 if the worker does not number its reports.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias, assert_never

from google.protobuf.timestamp_pb2 import Timestamp

from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.jobs import Instant
from airunner.model.reports import (
    Alive,
    Chunk,
    CloneEnded,
    CloneFailed,
    CloneProgressed,
    CloneStarted,
    ContainerCreated,
    ContainerRemoved,
    ImagePullEnded,
    ImagePullProgressed,
    ImagePullStarted,
    Output,
    OutputCut,
    ProcessEnded,
    ProcessFailed,
    ProcessStarted,
    Remark,
    Report,
    StepEnded,
    StepStarted,
    Stream,
    TerminalResized,
    count_sequences,
)
from airunner.wire.codec.containers import (
    decode_container_create,
    decode_container_remove,
    decode_pull_complete,
    decode_pull_progress,
    decode_pull_start,
    encode_container,
)
from airunner.wire.codec.enums import STREAMS
from airunner.wire.codec.steps import (
    decode_output_step,
    decode_step_end,
    decode_step_start,
    encode_step_report,
)
from airunner.wire.codec.times import (
    MILLIS_MAX,
    decode_instant,
    decode_millis,
    decode_report_time,
    encode_instant,
    encode_millis,
)
from airunner.wire.job.v1 import job_pb2 as pb

_DELTA_MAX = 2**31 - 1
_UNSET: Final = Timestamp()
PLAYBACK_MILLIS = limits.BATCH_MILLIS_MAX  # the time over which a player may spread a batch


def fill_report(event: pb.JobEvent, report: Report, first: int) -> None:
    """Encode a report into an empty event, with `first` as its sequence.

    The caller sets the event's timestamp and attempt. Output is written directly into the outer
    message: protobuf copies a message that is put into another, which took 5 us for 64 KiB at each
    level.
    """
    match report:
        case Output():
            _fill_output(event, report, first)
        case OutputCut(items, size):
            event.sequence, event.event_type = first, pb.EVENT_TYPE_OUTPUT_CUT
            event.output_cut.bytes, event.output_cut.end_sequence = size, first + items - 1
        case ProcessStarted() | ProcessEnded() | ProcessFailed() | Alive() | TerminalResized():
            event.MergeFrom(_encode_process(report, first))
        case CloneStarted() | CloneProgressed() | CloneEnded() | CloneFailed():
            event.MergeFrom(_encode_clone(report, first))
        case StepStarted() | StepEnded():
            event.MergeFrom(encode_step_report(report, first))
        case Remark(message):
            event.sequence, event.event_type = first, pb.EVENT_TYPE_REMARK
            event.remark.SetInParent()
            event.remark.message = message
        case (
            ContainerCreated()
            | ContainerRemoved()
            | ImagePullStarted()
            | ImagePullProgressed()
            | ImagePullEnded()
        ):
            event.MergeFrom(encode_container(report, first))
        case _:
            assert_never(report)


def fill_reports(batch: pb.Batch, reports: Iterable[Report], first: int) -> None:
    """Add an event for each report, numbered from `first` without a gap."""
    for report in reports:
        fill_report(batch.events.add(), report, first)
        first += count_sequences(report)


def decode_report(event: pb.JobEvent) -> Report | None:
    """Decode a worker's report; None for an empty batch of output.

    A time that the worker left unset is the time of the event, or 0 if that is unset too.
    """
    return decoder_of(event)(event, event.timestamp)


def decode_stored_report(event: pb.JobEvent) -> Report | None:
    """Decode a report as a server sends it: a time that is not set is 0.

    Logs have times of 0, of workers that set none. Another time would change the hash chain.
    """
    return decoder_of(event)(event, _UNSET)


def decoder_of(event: pb.JobEvent) -> "Decoder":
    """The decoder of the kind of an event. Raises InvalidRequest if workers report none such."""
    kind = event.WhichOneof("event_data")
    if kind not in _DECODERS:
        raise InvalidRequest(
            "events.event_data", f"{kind or 'nothing'} is not what a worker reports"
        )
    return _DECODERS[kind]


def decode_reports(events: Iterable[pb.JobEvent]) -> list[tuple[int, Report]]:
    """Decode reports, each with the worker's number of the report (its first item), or 0.

    Raises InvalidRequest if the reports exceed the limits of one message, before it decodes more.
    """
    reports: list[tuple[int, Report]] = []
    numbers = size = 0
    for event in events:
        numbers += max(1, len(event.output_batch.outputs))
        if numbers > limits.REPORTS_PER_BATCH_MAX:
            raise InvalidRequest(
                "events",
                f"has {numbers} items or more, above REPORTS_PER_BATCH_MAX "
                f"({limits.REPORTS_PER_BATCH_MAX}): send them in several messages",
            )
        if (report := decode_report(event)) is None:
            continue
        reports.append((report_number(event), report))
        size += report.size if isinstance(report, Output) else 0
        if size > limits.REPORT_BYTES_MAX:
            raise InvalidRequest(
                "events",
                f"has {size} bytes of output or more, above REPORT_BYTES_MAX "
                f"({limits.REPORT_BYTES_MAX} bytes): send them in several messages",
            )
    return reports


def report_number(event: pb.JobEvent) -> int:
    """The worker's number of a report, or of the first item of a batch; 0: not numbered."""
    number = event.sequence or event.output_batch.start_sequence
    if number != (start := event.output_batch.start_sequence or number):
        raise InvalidRequest(
            "events.output_batch.start_sequence",
            f"{start} is not the sequence of its event, which is {number}",
        )
    if number < 0:
        raise InvalidRequest("events.sequence", f"{number} is below 0")
    return number


# Encoders


def _fill_output(event: pb.JobEvent, output: Output, first: int) -> None:
    begin = output.chunks[0].at
    event.sequence, event.event_type = first, pb.EVENT_TYPE_OUTPUT_BATCH
    batch = event.output_batch
    batch.start_sequence, batch.end_sequence = first, first + len(output.chunks) - 1
    batch.first_timestamp_ms = begin
    batch.playback_interval_millis = PLAYBACK_MILLIS
    if output.step is not None:
        batch.step = output.step
    for chunk in output.chunks:
        item = batch.outputs.add()
        item.output, item.stream_type = chunk.data, STREAMS.encode(chunk.stream)
        item.timestamp_delta_ms = max(-_DELTA_MAX, min(chunk.at - begin, _DELTA_MAX))


def _encode_process(
    report: ProcessStarted | ProcessEnded | ProcessFailed | Alive | TerminalResized, first: int
) -> pb.JobEvent:
    match report:
        case ProcessStarted(pid, started_at):
            started = pb.ProcessStartEvent(pid=pid, started_at=encode_instant(started_at))
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_PROCESS_START, process_start=started
            )
        case ProcessEnded(pid, exit_code, duration):
            ended = pb.ProcessEndEvent(
                pid=pid, exit_code=exit_code, run_duration=encode_millis(duration)
            )
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_PROCESS_END, process_end=ended
            )
        case ProcessFailed(error):
            failed = pb.ProcessErrorEvent(error_message=error)
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_PROCESS_ERROR, process_error=failed
            )
        case Alive(elapsed, alive):
            beat = pb.HeartbeatEvent(elapsed_time=encode_millis(elapsed), process_alive=alive)
            return pb.JobEvent(sequence=first, event_type=pb.EVENT_TYPE_HEARTBEAT, heartbeat=beat)
        case TerminalResized(columns, rows, width_pixels, height_pixels):
            size = pb.TerminalResizeEvent(
                cols=columns, rows=rows, width_pixels=width_pixels, height_pixels=height_pixels
            )
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_TERMINAL_RESIZE, terminal_resize=size
            )


def _encode_clone(
    report: CloneStarted | CloneProgressed | CloneEnded | CloneFailed, first: int
) -> pb.JobEvent:
    match report:
        case CloneStarted(repository, commit, branch, started_at):
            started = pb.GitCloneStartEvent(
                repository=repository,
                commit=commit,
                branch=branch,
                started_at=encode_instant(started_at),
            )
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_GIT_CLONE_START, git_clone_start=started
            )
        case CloneProgressed(message):
            progress = pb.GitCloneProgressEvent(message=message)
            return pb.JobEvent(
                sequence=first,
                event_type=pb.EVENT_TYPE_GIT_CLONE_PROGRESS,
                git_clone_progress=progress,
            )
        case CloneEnded(commit, duration, directory):
            ended = pb.GitCloneEndEvent(
                commit_sha=commit,
                clone_duration=encode_millis(duration),
                working_directory=directory,
            )
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_GIT_CLONE_END, git_clone_end=ended
            )
        case CloneFailed(error, stderr):
            failed = pb.GitCloneErrorEvent(error_message=error, stderr_output=stderr)
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_GIT_CLONE_ERROR, git_clone_error=failed
            )


# Decoders


def _decode_output(event: pb.JobEvent, otherwise: Timestamp) -> Output:
    at = decode_instant(otherwise, "events.timestamp") or Instant(0)
    return Output((Chunk(Stream.STDOUT, event.output.output, at),))


def _decode_batch(event: pb.JobEvent, otherwise: Timestamp) -> Output | None:
    chunks = decode_chunks(event.output_batch.outputs, batch_begin(event, otherwise))
    return Output(chunks, decode_output_step(event.output_batch)) if chunks else None


def batch_begin(event: pb.JobEvent, otherwise: Timestamp) -> int:
    """The time from which the times of a batch count."""
    begin = event.output_batch.first_timestamp_ms
    if not 0 <= begin <= MILLIS_MAX:
        raise InvalidRequest("output_batch.first_timestamp_ms", "is not a time up to the year 9999")
    return begin or decode_instant(otherwise, "events.timestamp") or 0


def decode_chunks(items: Sequence[pb.OutputItem], begin: int) -> tuple[Chunk, ...]:
    """The chunks of a batch. Their times are within the range that _fill_output() can encode."""
    if not items:
        return ()
    first = min(max(0, begin + items[0].timestamp_delta_ms), MILLIS_MAX)
    low, high = max(0, first - _DELTA_MAX), min(first + _DELTA_MAX, MILLIS_MAX)
    return tuple(
        Chunk(
            STREAMS.decode(item.stream_type, "output_batch.outputs.stream_type"),
            item.output,
            Instant(min(max(low, begin + item.timestamp_delta_ms), high)),
        )
        for item in items
    )


def _decode_cut(event: pb.JobEvent, otherwise: Timestamp) -> OutputCut:
    cut = event.output_cut
    items = cut.end_sequence - event.sequence + 1
    if event.sequence < 1 or items < 1 or cut.bytes < 0:
        raise InvalidRequest("output_cut", "must have a sequence, an end_sequence, and bytes")
    return OutputCut(items, cut.bytes)


def _decode_process_start(event: pb.JobEvent, otherwise: Timestamp) -> ProcessStarted:
    data = event.process_start
    return ProcessStarted(
        data.pid, decode_report_time(data.started_at, otherwise, "process_start.started_at")
    )


def _decode_process_end(event: pb.JobEvent, otherwise: Timestamp) -> ProcessEnded:
    data = event.process_end
    duration = decode_millis(data.run_duration, "process_end.run_duration")
    return ProcessEnded(data.pid, data.exit_code, duration)


def _decode_heartbeat(event: pb.JobEvent, otherwise: Timestamp) -> Alive:
    data = event.heartbeat
    return Alive(decode_millis(data.elapsed_time, "heartbeat.elapsed_time"), data.process_alive)


def _decode_resize(event: pb.JobEvent, otherwise: Timestamp) -> TerminalResized:
    data = event.terminal_resize
    return TerminalResized(data.cols, data.rows, data.width_pixels, data.height_pixels)


def _decode_clone_start(event: pb.JobEvent, otherwise: Timestamp) -> CloneStarted:
    data = event.git_clone_start
    started_at = decode_report_time(data.started_at, otherwise, "git_clone_start.started_at")
    return CloneStarted(data.repository, data.commit, data.branch, started_at)


def _decode_clone_end(event: pb.JobEvent, otherwise: Timestamp) -> CloneEnded:
    data = event.git_clone_end
    duration = decode_millis(data.clone_duration, "git_clone_end.clone_duration")
    return CloneEnded(data.commit_sha, duration, data.working_directory)


Decoder: TypeAlias = Callable[[pb.JobEvent, Timestamp], Report | None]
_DECODERS: Final[dict[str | None, Decoder]] = {
    "process_start": _decode_process_start,
    "process_end": _decode_process_end,
    "process_error": lambda event, _: ProcessFailed(event.process_error.error_message),
    "heartbeat": _decode_heartbeat,
    "output": _decode_output,
    "terminal_resize": _decode_resize,
    "output_batch": _decode_batch,
    "container_create": decode_container_create,
    "container_remove": decode_container_remove,
    "image_pull_start": decode_pull_start,
    "image_pull_progress": decode_pull_progress,
    "image_pull_complete": decode_pull_complete,
    "git_clone_start": _decode_clone_start,
    "git_clone_progress": lambda event, _: CloneProgressed(event.git_clone_progress.message),
    "git_clone_end": _decode_clone_end,
    "remark": lambda event, _: Remark(event.remark.message),
    "git_clone_error": lambda event, _: CloneFailed(
        event.git_clone_error.error_message, event.git_clone_error.stderr_output
    ),
    "output_cut": _decode_cut,
    "step_start": lambda event, _: decode_step_start(event),
    "step_end": lambda event, _: decode_step_end(event),
}
