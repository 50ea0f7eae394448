"""Round trips of every codec, defaults of the published contract, refusals, and filters."""

import asyncio
from collections.abc import Iterable
from enum import StrEnum

import pytest
from msgspec import structs

from airunner.model.errors import InvalidRequest
from airunner.model.job_events import (
    JobEnqueued,
    JobEvent,
    JobEventBody,
    JobFinished,
    event_kind,
    without_before,
)
from airunner.model.job_query import JobQuery, Page, QueueStatistics
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    Job,
    JobState,
    Millis,
    Outcome,
    Position,
    Reason,
    RequestId,
    Sequence,
    TaskToken,
)
from airunner.model.limits import (
    ENVIRONMENT_BYTES_MAX,
    MESSAGES_TOGETHER_BYTES,
    MESSAGES_TOGETHER_MAX,
)
from airunner.model.namespaces import QueueKey
from airunner.model.protocol.worker_protocol import (
    Assignment,
    Batch,
    Credit,
    FromServer,
    FromWorker,
)
from airunner.model.reports import (
    Chunk,
    Output,
    OutputCut,
    ProcessEnded,
    Report,
    Stream,
    count_sequences,
)
from airunner.model.spec import Checkout, JobSpec, ProcessType
from airunner.model.steps import StepStatus
from airunner.model.wait_reason import WaitReason
from airunner.server.grpc.listed_jobs import encode_page
from airunner.wire.codec.enums import (
    ATTEMPT_ENDS,
    JOB_STATES,
    PROCESS_TYPES,
    REASONS,
    STEP_STATUSES,
    STREAMS,
    Enumeration,
)
from airunner.wire.codec.job_events import (
    decode_filter,
    decode_job_event,
    encode_filter,
    fill_job_event,
    passes_filter,
)
from airunner.wire.codec.jobs import (
    decode_job,
    decode_job_query,
    decode_page,
    decode_queue_token,
    decode_statistics,
    decode_wait_reason,
    encode_job,
    encode_job_query,
    encode_queue_token,
    encode_statistics,
    encode_wait_reason,
)
from airunner.wire.codec.outcomes import decode_outcome, encode_outcome
from airunner.wire.codec.reports import decode_report, decode_reports, fill_report
from airunner.wire.codec.specs import decode_spec, encode_new_job, encode_spec
from airunner.wire.codec.worker_protocol import (
    decode_from_server,
    decode_from_worker,
    encode_from_server,
    encode_from_worker,
)
from airunner.wire.job.v1 import job_pb2 as pb
from tests.wire import samples
from tests.wire.samples import AT, members


def named(values: Iterable[object]) -> list[object]:
    return [pytest.param(each, id=type(each).__name__) for each in values]


def test_the_samples_have_every_kind_of_message() -> None:
    assert {type(each) for each in samples.REPORTS} == members(Report)
    assert {type(each) for each in samples.HAPPENINGS} == members(JobEventBody)
    assert {type(each) for each in samples.FROM_WORKER} == members(FromWorker)
    assert {type(each) for each in samples.FROM_SERVER} == members(FromServer)


def filled(entry: JobEvent) -> pb.JobEvent:
    fill_job_event(event := pb.JobEvent(), entry)
    return event


@pytest.mark.parametrize("report", named(samples.REPORTS))
def test_a_report_arrives(report: Report) -> None:
    fill_report(event := pb.JobEvent(), report, 7)
    assert decode_report(pb.JobEvent.FromString(event.SerializeToString())) == report


@pytest.mark.parametrize("what", named(samples.HAPPENINGS))
def test_an_entry_arrives(what: JobEventBody) -> None:
    last = 6 + count_sequences(what) if isinstance(what, Report) else 7
    entry = JobEvent(first=Sequence(7), last=Sequence(last), at=AT, attempt=2, body=what)
    sent = filled(entry).SerializeToString()
    assert decode_job_event(pb.JobEvent.FromString(sent)) == entry


@pytest.mark.parametrize("message", named(samples.FROM_WORKER))
def test_what_a_worker_says_arrives(message: FromWorker) -> None:
    sent = encode_from_worker(iter([message])).SerializeToString()
    assert decode_from_worker(pb.WorkRequest.FromString(sent)) == [message]


@pytest.mark.parametrize("message", named(samples.FROM_SERVER))
def test_what_a_server_says_arrives(message: FromServer) -> None:
    sent = encode_from_server(iter([message])).SerializeToString()
    assert decode_from_server(pb.WorkResponse.FromString(sent)) == [message]


def test_what_is_said_at_once_travels_together_in_its_order() -> None:
    up, down = iter(samples.FROM_WORKER), iter(samples.FROM_SERVER)
    assert decode_from_worker(encode_from_worker(up)) == list(samples.FROM_WORKER)
    assert decode_from_server(encode_from_server(down)) == list(samples.FROM_SERVER)
    assert not encode_from_worker(up).messages
    assert not encode_from_server(down).messages


def test_no_more_than_a_bound_travels_together_and_the_rest_is_not_asked_for() -> None:
    large = Output((Chunk(Stream.STDOUT, bytes(MESSAGES_TOGETHER_BYTES), AT),))
    batches = iter([Batch(TaskToken("t"), n, (large,)) for n in (1, 2)])
    assert len(encode_from_worker(batches).messages) == 1
    assert len(list(batches)) == 1
    credits = iter([Credit(1)] * (MESSAGES_TOGETHER_MAX + 1))
    assert len(encode_from_worker(credits).messages) == MESSAGES_TOGETHER_MAX
    assert len(list(credits)) == 1
    spec = JobSpec(command="x", environment={"X": "x" * (ENVIRONMENT_BYTES_MAX - 1)})
    job = structs.replace(samples.JOBS[0], spec=spec)
    task = Assignment(job=job, token=TaskToken("t"), span=Millis(1), output_bytes_max=1)
    tasks = iter([task] * 8)
    assert (
        len(encode_from_server(tasks).messages) == MESSAGES_TOGETHER_BYTES // ENVIRONMENT_BYTES_MAX
    )


@pytest.mark.parametrize("spec", samples.SPECS)
def test_a_spec_arrives(spec: JobSpec) -> None:
    sent = encode_spec(spec).SerializeToString()
    assert decode_spec(pb.JobParams.FromString(sent), spec.queue) == spec


@pytest.mark.parametrize("job", samples.JOBS)
def test_a_job_arrives(job: Job) -> None:
    sent = encode_job(job).SerializeToString()
    assert decode_job(pb.Job.FromString(sent)) == job


@pytest.mark.parametrize("outcome", samples.OUTCOMES)
def test_an_outcome_arrives(outcome: Outcome) -> None:
    sent = encode_outcome(outcome).SerializeToString()
    assert decode_outcome(pb.JobResult.FromString(sent)) == outcome


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (JobState, JOB_STATES),
        (Reason, REASONS),
        (AttemptEnd, ATTEMPT_ENDS),
        (ProcessType, PROCESS_TYPES),
        (Stream, STREAMS),
        (StepStatus, STEP_STATUSES),
    ],
)
def test_every_word_has_a_number_of_its_own(
    words: type[StrEnum], table: Enumeration[StrEnum, int]
) -> None:
    assert [table.decode(table.encode(word), "field") for word in words] == list(words)


def test_a_number_that_stands_for_nothing_is_refused_with_its_field() -> None:
    with pytest.raises(InvalidRequest, match=r"^state: 99 is not one of"):
        JOB_STATES.decode(99, "state")


def test_listings_pages_statistics_and_waiting_arrive() -> None:
    for listing in (
        JobQuery(),
        JobQuery(queue="a", state=JobState.FAILED, page=2, page_size=10),
        JobQuery(before=Position(77)),
    ):
        assert decode_job_query(encode_job_query(listing)) == listing
    for page in (
        Page(jobs=(), last_page=1, next=None),
        Page(jobs=(), last_page=3, next=Position(5)),
    ):
        assert decode_page(asyncio.run(encode_page(page))) == page
    counts = {state: number for number, state in enumerate(JobState)}
    statistics = QueueStatistics(queue="a", counts=counts, oldest=AT, workers=1, slots=2, busy=1)
    assert decode_statistics(encode_statistics(statistics)) == statistics
    waiting = WaitReason(queue="a", ahead=3, workers=1, slots=2, busy=2)
    message = encode_wait_reason(waiting)
    assert message is not None
    assert decode_wait_reason(message, "a") == waiting
    assert message.explanation == waiting.explanation


def test_a_listed_job_has_the_names_of_its_environment_without_the_values() -> None:
    page = Page(jobs=(samples.job(samples.SPECS[1]),), last_page=1, next=None)
    assert dict(asyncio.run(encode_page(page)).jobs[0].job_params.environment) == {
        "A": "",
        "EMPTY": "",
    }


# Fields that a client of the published contract leaves out


def test_a_submission_that_says_only_a_command_has_the_defaults() -> None:
    assert decode_spec(pb.JobParams(command="true"), "") == JobSpec(command="true")


def test_a_repository_comes_with_its_checkout_though_it_is_the_usual_one() -> None:
    assert encode_spec(JobSpec(command="x", repository="https://h/r")).git_clone.enabled
    assert not encode_spec(JobSpec(command="x")).HasField("git_clone")


def test_a_checkout_that_is_set_but_not_enabled_is_none() -> None:
    params = pb.JobParams(command="x", git_clone=pb.GitCloneConfig())
    assert decode_spec(params, "").checkout is None


def test_the_execution_config_is_always_filled() -> None:
    config = encode_job(samples.job()).execution_config
    assert config.heartbeat_interval_seconds == 100
    assert config.batching.max_batch_bytes > 0
    assert config.output_flush_interval_millis > 0


@pytest.mark.parametrize(
    ("result", "reason", "code", "state"),
    [
        (pb.JobResult(success=True), Reason.EXITED, 0, JobState.COMPLETED),
        (pb.JobResult(success=True, exit_code=3), Reason.EXITED, 3, JobState.FAILED),
        (pb.JobResult(success=False, exit_code=3), Reason.EXITED, 3, JobState.FAILED),
        (pb.JobResult(success=False), Reason.FAILED, None, JobState.FAILED),
        (pb.JobResult(success=False, exit_code=-1), Reason.FAILED, None, JobState.FAILED),
    ],
)
def test_the_exit_code_of_a_published_worker_is_the_truth(
    result: pb.JobResult, reason: Reason, code: int | None, state: JobState
) -> None:
    outcome = decode_outcome(result)
    assert (outcome.reason, outcome.exit_code, outcome.state) == (reason, code, state)


def test_a_time_before_1970_is_no_time() -> None:
    result = pb.JobResult(success=True)
    result.started_at.FromJsonString("0001-01-01T00:00:00Z")
    assert decode_outcome(result).started_at is None


def test_an_output_event_is_a_batch_of_one_chunk_of_standard_output() -> None:
    event = pb.JobEvent(sequence=4, output=pb.OutputEvent(output=b"x"))
    event.timestamp.FromMilliseconds(AT)
    assert decode_reports([event]) == [(4, Output((Chunk(Stream.STDOUT, b"x", AT),)))]


def test_a_batch_is_numbered_by_its_start_sequence() -> None:
    batch = pb.OutputBatchEvent(
        outputs=[pb.OutputItem(output=b"x", timestamp_delta_ms=5)],
        start_sequence=9,
        end_sequence=9,
        first_timestamp_ms=AT,
    )
    chunk = Chunk(Stream.STDOUT, b"x", Instant(AT + 5))
    assert decode_reports([pb.JobEvent(output_batch=batch)]) == [(9, Output((chunk,)))]


def test_a_batch_whose_two_numbers_differ_is_refused_and_not_taken_for_a_repeat() -> None:
    batch = pb.OutputBatchEvent(outputs=[pb.OutputItem(output=b"x")], start_sequence=9)
    with pytest.raises(InvalidRequest, match="start_sequence: 9 is not the sequence"):
        decode_reports([pb.JobEvent(sequence=2, output_batch=batch)])


def test_a_batch_without_output_is_left_out() -> None:
    event = pb.JobEvent(sequence=1, output_batch=pb.OutputBatchEvent())
    assert decode_reports([event]) == []


# Refusals


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (pb.JobEvent(sequence=1), "events.event_data"),
        (pb.JobEvent(finished=pb.FinishedEvent()), "events.event_data"),
        (pb.JobEvent(sequence=-1, output=pb.OutputEvent()), "events.sequence"),
        (pb.JobEvent(sequence=2, output_cut=pb.OutputCutEvent(end_sequence=1)), "output_cut"),
        (pb.JobEvent(output=pb.OutputEvent(output=bytes(4 * 2**20 + 1))), "events"),
        (
            pb.JobEvent(output_batch=pb.OutputBatchEvent(outputs=[pb.OutputItem()] * 10_001)),
            "events",
        ),
        (
            pb.JobEvent(
                output_batch=pb.OutputBatchEvent(outputs=[pb.OutputItem()], first_timestamp_ms=-1)
            ),
            "output_batch.first_timestamp_ms",
        ),
    ],
)
def test_a_report_that_breaks_a_rule_is_refused_with_its_field(
    event: pb.JobEvent, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_reports([event])
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (pb.JobParams(), "command"),
        (pb.JobParams(command="x", git_clone=pb.GitCloneConfig(enabled=True, submodules="y")),
         "git_clone.submodules"),
        (pb.JobParams(command="x", git_clone=pb.GitCloneConfig(enabled=True, filter="x")),
         "git_clone.filter"),
        (pb.JobParams(command="x", git_clone=pb.GitCloneConfig(enabled=True, sparse=["a", "-x"])),
         "git_clone.sparse"),
        (pb.JobParams(command="x", container=pb.ContainerConfig(enabled=True)), "container.image"),
        (pb.JobParams(command="x", terminal=pb.TerminalSize(columns=-1)), "terminal.columns"),
        (pb.JobParams(command="x", timeout_seconds=-1), "timeout_seconds"),
    ],
)  # fmt: skip
def test_params_that_break_a_rule_are_refused_with_their_field(
    params: pb.JobParams, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_spec(params, "")
    assert refused.value.field == field


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "9" * 30, "\u0661"])
def test_a_page_token_of_somebody_elses_making_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest, match="page_token"):
        decode_job_query(pb.ListJobsRequest(page_token=token))


@pytest.mark.parametrize("token", ["x", "x ", " x", "x y z", "x \u0661", "x" * 129 + " y"])
def test_a_page_token_of_queues_that_no_server_makes_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest, match="page_token"):
        decode_queue_token(token)


@pytest.mark.parametrize("last", [QueueKey("q"), QueueKey("a/b:c", "red")])
def test_a_page_token_of_queues_keeps_the_name_and_the_namespace(last: QueueKey) -> None:
    assert decode_queue_token(encode_queue_token(last)) == last
    assert decode_queue_token("") is None


def test_an_empty_message_on_a_stream_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="messages"):
        decode_from_worker(pb.WorkRequest())
    with pytest.raises(InvalidRequest, match="messages"):
        decode_from_server(pb.WorkResponse())
    with pytest.raises(InvalidRequest, match="message: is empty"):
        decode_from_worker(pb.WorkRequest(messages=[pb.FromWorker()]))
    with pytest.raises(InvalidRequest, match="message: is empty"):
        decode_from_server(pb.WorkResponse(messages=[pb.FromServer()]))


def test_more_messages_at_once_than_may_travel_together_are_refused() -> None:
    one = pb.FromWorker(farewell=pb.Farewell())
    with pytest.raises(InvalidRequest, match="MESSAGES_TOGETHER_MAX"):
        decode_from_worker(pb.WorkRequest(messages=[one] * (MESSAGES_TOGETHER_MAX + 1)))


def test_an_exited_command_without_an_exit_code_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no_exit_code"):
        decode_outcome(pb.JobResult(reason=pb.REASON_EXITED, no_exit_code=True))


@pytest.mark.parametrize("seconds", [-62_135_596_801, 253_402_300_800])
def test_a_time_that_no_calendar_has_is_refused(seconds: int) -> None:
    result = pb.JobResult(success=True)
    result.started_at.seconds = seconds
    with pytest.raises(InvalidRequest, match=r"job_result\.started_at"):
        decode_outcome(result)


# Older servers and workers


def first_depth(config: pb.GitCloneConfig) -> int:
    """The depth that the first servers and workers read; 0 is the whole history."""
    return max(0, config.depth or 1)


@pytest.mark.parametrize("depth", [0, 1, 7])
@pytest.mark.parametrize("repository", ["", "https://h/r"])
def test_the_first_servers_and_workers_read_the_depth_of_a_clone(
    depth: int, repository: str
) -> None:
    spec = JobSpec(command="x", repository=repository, checkout=Checkout(depth=depth))
    job = structs.replace(samples.JOBS[0], spec=spec)
    sent = encode_new_job(spec, RequestId("r"))
    assignment = Assignment(job=job, token=TaskToken("t"), span=Millis(1), output_bytes_max=1)
    (given,) = encode_from_server(iter((assignment,))).messages
    for params in (sent.job_params, given.assignment.job.job_params):
        assert first_depth(params.git_clone) == depth
        assert decode_spec(params, sent.queue) == spec


def test_a_job_without_a_clone_has_none_for_an_older_server() -> None:
    spec = JobSpec(command="x", repository="https://h/r", checkout=None)
    sent = encode_new_job(spec, RequestId("r")).job_params
    assert (sent.git_clone.enabled, sent.git_clone.depth) == (False, 0)


# Numbers, filters and trimming


def test_the_events_of_a_batch_are_numbered_without_a_gap() -> None:
    request = encode_from_worker(iter([Batch(TaskToken("t"), 5, samples.REPORTS)]))
    expected = 5
    events = request.messages[0].batch.events
    for event, report in zip(events, samples.REPORTS, strict=True):
        assert event.sequence == expected
        expected += count_sequences(report)


@pytest.mark.parametrize("what", named(samples.HAPPENINGS))
def test_every_kind_names_its_type_on_the_wire(what: JobEventBody) -> None:
    last = 1 if isinstance(what, JobFinished | JobEnqueued) else 3
    event = filled(JobEvent(first=Sequence(1), last=Sequence(last), at=AT, attempt=0, body=what))
    wanted = decode_filter(encode_filter([event_kind(what)]))
    assert passes_filter(event.event_type, wanted)


def test_output_and_output_batch_are_one_to_a_filter() -> None:
    entry = JobEvent(first=Sequence(1), last=Sequence(1), at=AT, attempt=1, body=samples.REPORTS[0])
    for type in (pb.EVENT_TYPE_OUTPUT, pb.EVENT_TYPE_OUTPUT_BATCH):
        assert passes_filter(filled(entry).event_type, decode_filter([type]))
    assert not passes_filter(filled(entry).event_type, decode_filter([pb.EVENT_TYPE_PROCESS_END]))


def test_our_types_pass_every_filter() -> None:
    wanted = decode_filter([pb.EVENT_TYPE_PROCESS_END])
    entry = JobEvent(
        first=Sequence(1), last=Sequence(1), at=AT, attempt=0, body=JobEnqueued("default", None)
    )
    assert passes_filter(filled(entry).event_type, wanted)


@pytest.mark.parametrize("type", [0, 99, 12345])
def test_a_filter_for_what_does_not_exist_is_refused(type: int) -> None:
    with pytest.raises(InvalidRequest, match="event_filter"):
        decode_filter([type])


def test_a_batch_is_trimmed_to_where_its_watcher_begins() -> None:
    whole = JobEvent(first=Sequence(5), last=Sequence(7), at=AT, attempt=1, body=samples.REPORTS[1])
    part = without_before(whole, 6)
    assert (part.first, part.last) == (6, 7)
    assert isinstance(part.body, Output)
    assert isinstance(whole.body, Output)
    assert part.body.chunks == whole.body.chunks[1:]
    batch = filled(part).output_batch
    assert (batch.start_sequence, batch.end_sequence) == (6, 7)


def test_a_cut_is_trimmed_too() -> None:
    whole = JobEvent(first=Sequence(5), last=Sequence(7), at=AT, attempt=1, body=OutputCut(3, 100))
    assert without_before(whole, 7).body == OutputCut(1, 100)


def test_an_entry_that_begins_later_is_left_whole() -> None:
    whole = JobEvent(first=Sequence(5), last=Sequence(7), at=AT, attempt=1, body=samples.REPORTS[1])
    assert without_before(whole, 2) == whole
    ended = structs.replace(whole, body=samples.HAPPENINGS[0])
    assert without_before(ended, 7) == ended


def test_a_negative_duration_is_none() -> None:
    event = pb.JobEvent(process_end=pb.ProcessEndEvent(pid=1))
    event.process_end.run_duration.seconds = -5
    report = decode_report(event)
    assert report == ProcessEnded(1, 0, Millis(0))
