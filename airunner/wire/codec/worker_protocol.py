"""What a native worker and the server say to each other, on the wire, in both directions."""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import assert_never

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import Millis, TaskToken, WorkerId
from airunner.model.limits import MESSAGES_TOGETHER_BYTES, MESSAGES_TOGETHER_MAX
from airunner.model.protocol.worker_protocol import (
    Assignment,
    Batch,
    CancelOrder,
    Completion,
    Credit,
    Drain,
    Farewell,
    FromServer,
    FromWorker,
    GiveBack,
    Heartbeat,
    Held,
    Hello,
    Rejected,
    Renewal,
    Settled,
    Stored,
    Welcome,
)
from airunner.model.reports import Output
from airunner.wire.codec.errors import status_code, status_number
from airunner.wire.codec.jobs import decode_job, fill_job
from airunner.wire.codec.outcomes import decode_outcome, encode_outcome
from airunner.wire.codec.reports import decode_reports, fill_reports
from airunner.wire.job.v1 import job_pb2 as pb


def encode_from_worker(messages: Iterator[FromWorker]) -> pb.WorkRequest:
    """As many of the messages as travel together; none when there are no more."""
    request = pb.WorkRequest()
    size = 0
    for message in islice(messages, MESSAGES_TOGETHER_MAX):
        _fill_from_worker(said := request.messages.add(), message)
        size += _output_bytes(message) if isinstance(message, Batch) else said.ByteSize()
        if size >= MESSAGES_TOGETHER_BYTES:
            break
    return request


def _output_bytes(batch: Batch) -> int:
    """Its size, all but a little; protobuf would write it out to count: 30 us for 256 KiB."""
    return sum(report.size for report in batch.reports if isinstance(report, Output))


def decode_from_worker(request: pb.WorkRequest) -> list[FromWorker]:
    """The messages; InvalidRequest if there is none, or if one of them breaks a rule."""
    _check_together(request.messages)
    return [_decode_from_worker(said) for said in request.messages]


def encode_from_server(messages: Iterator[FromServer]) -> pb.WorkResponse:
    """As encode_from_worker()."""
    response = pb.WorkResponse()
    size = 0
    for message in islice(messages, MESSAGES_TOGETHER_MAX):
        _fill_from_server(said := response.messages.add(), message)
        size += said.ByteSize()
        if size >= MESSAGES_TOGETHER_BYTES:
            break
    return response


def decode_from_server(response: pb.WorkResponse) -> list[FromServer]:
    """The messages; InvalidRequest if the server is newer and says what is not known here."""
    _check_together(response.messages)
    return [_decode_from_server(said) for said in response.messages]


def _check_together(messages: Sized) -> None:
    if not 1 <= len(messages) <= MESSAGES_TOGETHER_MAX:
        raise InvalidRequest(
            "messages",
            f"has {len(messages)}; say 1 to MESSAGES_TOGETHER_MAX ({MESSAGES_TOGETHER_MAX}) at once",
        )


# Each is filled in where it travels: protobuf copies a message that is put into another by
# writing it out and reading it again, which took most of the time.


def _fill_from_worker(said: pb.FromWorker, message: FromWorker) -> None:
    match message:
        case Completion(token, last, outcome):
            completion = said.completion
            completion.task_token, completion.last = token, last
            completion.result.CopyFrom(encode_outcome(outcome))
        case Credit(more):
            said.credit.more = more
        case Batch(token, first, reports):
            said.batch.task_token, said.batch.first = token, first
            fill_reports(said.batch, reports, first)
        case Heartbeat(tokens):
            said.heartbeat.SetInParent()
            said.heartbeat.task_tokens.extend(tokens)
        case GiveBack(token, lost, complete, last):
            back = said.give_back
            back.task_token, back.lost, back.last = token, lost, last
            back.log_incomplete = not complete
        case Hello():
            hello = said.hello
            hello.worker, hello.name = message.worker, message.name
            hello.queues.extend(message.queues)
            hello.span_millis = message.span
            hello.slots, hello.credit = message.slots, message.credit
            hello.holding.extend(message.holding)
            hello.connection = message.connection
        case Farewell():
            said.farewell.SetInParent()
        case _:
            assert_never(message)


def _decode_from_worker(said: pb.FromWorker) -> FromWorker:
    match said.WhichOneof("message"):
        case "hello":
            return _decode_hello(said.hello)
        case "credit":
            return Credit(said.credit.more)
        case "heartbeat":
            return Heartbeat(_tokens(said.heartbeat.task_tokens))
        case "batch":
            reports = tuple(report for _, report in decode_reports(said.batch.events))
            return Batch(TaskToken(said.batch.task_token), said.batch.first, reports)
        case "completion":
            completion = said.completion
            outcome = decode_outcome(completion.result)
            return Completion(TaskToken(completion.task_token), completion.last, outcome)
        case "give_back":
            back = said.give_back
            complete = not back.log_incomplete
            return GiveBack(TaskToken(back.task_token), back.lost, complete, back.last)
        case "farewell":
            return Farewell()
        case _:
            raise InvalidRequest("message", "is empty, or of a kind that this server does not know")


def _fill_from_server(said: pb.FromServer, message: FromServer) -> None:
    match message:
        case Assignment():
            assignment = said.assignment
            fill_job(assignment.job, message.job)
            assignment.task_token = message.token
            assignment.span_millis = message.span
            assignment.output_bytes_max = message.output_bytes_max
        case Settled(token):
            said.settled.task_token = token
        case Stored(token, sent):
            said.stored.task_token, said.stored.sent = token, sent
        case Renewal(renewed, lost):
            said.renewal.SetInParent()
            said.renewal.renewed.extend(renewed)
            said.renewal.lost.extend(lost)
        case CancelOrder(token):
            said.cancel_order.task_token = token
        case Welcome(server, held, lost):
            said.welcome.server = server
            for each in held:
                said.welcome.held.add(
                    task_token=each.token, sent=each.sent, cancelled=each.cancelled
                )
            said.welcome.lost.extend(lost)
        case Rejected(token, status, why, lease_lost):
            rejected = said.rejected
            rejected.task_token, rejected.code = token, status_number(status)
            rejected.message, rejected.lease_lost = why, lease_lost
        case Drain():
            said.drain.SetInParent()
        case _:
            assert_never(message)


def _decode_from_server(said: pb.FromServer) -> FromServer:
    match said.WhichOneof("message"):
        case "welcome":
            welcome = said.welcome
            held = tuple(
                Held(TaskToken(each.task_token), each.sent, each.cancelled) for each in welcome.held
            )
            return Welcome(welcome.server, held, _tokens(welcome.lost))
        case "assignment":
            assignment = said.assignment
            return Assignment(
                job=decode_job(assignment.job),
                token=TaskToken(assignment.task_token),
                span=Millis(assignment.span_millis),
                output_bytes_max=assignment.output_bytes_max,
            )
        case "stored":
            return Stored(TaskToken(said.stored.task_token), said.stored.sent)
        case "renewal":
            return Renewal(_tokens(said.renewal.renewed), _tokens(said.renewal.lost))
        case "cancel_order":
            return CancelOrder(TaskToken(said.cancel_order.task_token))
        case "settled":
            return Settled(TaskToken(said.settled.task_token))
        case "rejected":
            rejected = said.rejected
            status = status_code(rejected.code).name
            token = TaskToken(rejected.task_token)
            return Rejected(token, status, rejected.message, rejected.lease_lost)
        case "drain":
            return Drain()
        case _:
            raise InvalidRequest("message", "is empty, or of a kind that this worker does not know")


def _decode_hello(hello: pb.Hello) -> Hello:
    return Hello(
        worker=WorkerId(hello.worker),
        name=hello.name,
        queues=tuple(hello.queues),
        span=Millis(hello.span_millis),
        slots=hello.slots,
        credit=hello.credit,
        holding=_tokens(hello.holding),
        connection=hello.connection,
    )


def _tokens(texts: Iterable[str]) -> tuple[TaskToken, ...]:
    return tuple(TaskToken(text) for text in texts)
