"""The codec of the worker protocol, in both directions."""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Final, assert_never

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import Millis, TaskToken, WorkerId
from airunner.model.limits import MESSAGES_TOGETHER_BYTES, MESSAGES_TOGETHER_MAX, REPORTS_TOGETHER
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
from airunner.model.reports import Output, text_size
from airunner.wire.codec.errors import status_code, status_number
from airunner.wire.codec.jobs import decode_job, fill_job
from airunner.wire.codec.outcomes import decode_outcome, encode_outcome
from airunner.wire.codec.reports import decode_reports, fill_reports
from airunner.wire.codec.specs import mark_whole_history
from airunner.wire.job.v1 import job_pb2 as pb

TOKEN_CHARS_MAX: Final = 256  # of a task token; a server's have fewer


def encode_from_worker(messages: Iterator[FromWorker]) -> pb.WorkRequest:
    """Encode as many messages as fit into one request; an empty request: no message was left."""
    request = pb.WorkRequest()
    size = reports = 0
    for message in islice(messages, MESSAGES_TOGETHER_MAX):
        _fill_from_worker(envelope := request.messages.add(), message)
        if isinstance(message, Batch):
            size += _batch_bytes(message)
            reports += len(message.reports)
        else:
            size += envelope.ByteSize()
        if size >= MESSAGES_TOGETHER_BYTES or reports >= REPORTS_TOGETHER:
            break
    return request


def _batch_bytes(batch: Batch) -> int:
    """Nearly the size of a batch. ByteSize() would serialize the batch: 30 us for 256 KiB."""
    return sum(
        report.size if isinstance(report, Output) else text_size(report) for report in batch.reports
    )


def decode_from_worker(request: pb.WorkRequest) -> list[FromWorker]:
    """Decode the messages. Raises InvalidRequest if there is none or if a message is invalid."""
    _check_together(request.messages)
    return [_decode_from_worker(envelope) for envelope in request.messages]


def encode_from_server(messages: Iterator[FromServer]) -> pb.WorkResponse:
    """Encode as many messages as fit into one response; an empty response: no message was left."""
    response = pb.WorkResponse()
    size = 0
    for message in islice(messages, MESSAGES_TOGETHER_MAX):
        _fill_from_server(envelope := response.messages.add(), message)
        size += envelope.ByteSize()
        if size >= MESSAGES_TOGETHER_BYTES:
            break
    return response


def decode_from_server(response: pb.WorkResponse) -> list[FromServer]:
    """Decode the messages. Raises InvalidRequest for an unknown message of a newer server."""
    _check_together(response.messages)
    return [_decode_from_server(envelope) for envelope in response.messages]


def _check_together(messages: Sized) -> None:
    if not 1 <= len(messages) <= MESSAGES_TOGETHER_MAX:
        raise InvalidRequest(
            "messages",
            f"has {len(messages)}; send 1 to MESSAGES_TOGETHER_MAX ({MESSAGES_TOGETHER_MAX})",
        )


# Messages are filled in place: protobuf copies a message that is put into another by serializing
# and parsing it, which took most of the time.


def _fill_from_worker(envelope: pb.FromWorker, message: FromWorker) -> None:
    match message:
        case Completion(token, last, outcome):
            completion = envelope.completion
            completion.task_token, completion.last = token, last
            completion.result.CopyFrom(encode_outcome(outcome))
        case Credit(more):
            envelope.credit.more = more
        case Batch(token, first, reports):
            envelope.batch.task_token, envelope.batch.first = token, first
            fill_reports(envelope.batch, reports, first)
        case Heartbeat(tokens):
            envelope.heartbeat.SetInParent()
            envelope.heartbeat.task_tokens.extend(tokens)
        case GiveBack(token, lost, complete, last):
            back = envelope.give_back
            back.task_token, back.lost, back.last = token, lost, last
            back.log_incomplete = not complete
        case Hello():
            hello = envelope.hello
            hello.worker, hello.name = message.worker, message.name
            hello.queues.extend(message.queues)
            hello.span_millis = message.span
            hello.slots, hello.credit = message.slots, message.credit
            hello.holding.extend(message.holding)
            hello.connection, hello.secret = message.connection, message.secret
            hello.features.extend(message.features)
        case Farewell():
            envelope.farewell.SetInParent()
        case _:
            assert_never(message)


def _decode_from_worker(envelope: pb.FromWorker) -> FromWorker:
    match envelope.WhichOneof("message"):
        case "hello":
            return _decode_hello(envelope.hello)
        case "credit":
            return Credit(envelope.credit.more)
        case "heartbeat":
            return Heartbeat(_tokens(envelope.heartbeat.task_tokens))
        case "batch":
            reports = tuple(report for _, report in decode_reports(envelope.batch.events))
            return Batch(_token(envelope.batch.task_token), envelope.batch.first, reports)
        case "completion":
            completion = envelope.completion
            outcome = decode_outcome(completion.result)
            return Completion(_token(completion.task_token), completion.last, outcome)
        case "give_back":
            back = envelope.give_back
            complete = not back.log_incomplete
            return GiveBack(_token(back.task_token), back.lost, complete, back.last)
        case "farewell":
            return Farewell()
        case _:
            raise InvalidRequest("message", "is empty, or of a kind that this server does not know")


def _fill_from_server(envelope: pb.FromServer, message: FromServer) -> None:
    match message:
        case Assignment():
            assignment = envelope.assignment
            fill_job(assignment.job, message.job)
            mark_whole_history(assignment.job.job_params, message.job.spec)
            assignment.task_token = message.token
            assignment.span_millis = message.span
            assignment.output_bytes_max = message.output_bytes_max
        case Settled(token):
            envelope.settled.task_token = token
        case Stored(token, sent):
            envelope.stored.task_token, envelope.stored.sent = token, sent
        case Renewal(renewed, lost):
            envelope.renewal.SetInParent()
            envelope.renewal.renewed.extend(renewed)
            envelope.renewal.lost.extend(lost)
        case CancelOrder(token):
            envelope.cancel_order.task_token = token
        case Welcome(server, held, lost):
            envelope.welcome.server = server
            for each in held:
                envelope.welcome.held.add(
                    task_token=each.token, sent=each.sent, cancelled=each.cancelled
                )
            envelope.welcome.lost.extend(lost)
        case Rejected(token, status, why, lease_lost):
            rejected = envelope.rejected
            rejected.task_token, rejected.code = token, status_number(status)
            rejected.message, rejected.lease_lost = why, lease_lost
        case Drain():
            envelope.drain.SetInParent()
        case _:
            assert_never(message)


def _decode_from_server(envelope: pb.FromServer) -> FromServer:
    match envelope.WhichOneof("message"):
        case "welcome":
            welcome = envelope.welcome
            held = tuple(
                Held(TaskToken(each.task_token), each.sent, each.cancelled) for each in welcome.held
            )
            return Welcome(welcome.server, held, _tokens(welcome.lost))
        case "assignment":
            assignment = envelope.assignment
            return Assignment(
                job=decode_job(assignment.job),
                token=TaskToken(assignment.task_token),
                span=Millis(assignment.span_millis),
                output_bytes_max=assignment.output_bytes_max,
            )
        case "stored":
            return Stored(TaskToken(envelope.stored.task_token), envelope.stored.sent)
        case "renewal":
            return Renewal(_tokens(envelope.renewal.renewed), _tokens(envelope.renewal.lost))
        case "cancel_order":
            return CancelOrder(TaskToken(envelope.cancel_order.task_token))
        case "settled":
            return Settled(TaskToken(envelope.settled.task_token))
        case "rejected":
            rejected = envelope.rejected
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
        secret=hello.secret,
        features=tuple(hello.features),
    )


def _tokens(texts: Iterable[str]) -> tuple[TaskToken, ...]:
    return tuple(map(_token, texts))


def _token(text: str) -> TaskToken:
    """A task token, whose size is checked: the other end sends a token back with each refusal."""
    if len(text) > TOKEN_CHARS_MAX:
        raise InvalidRequest("task_token", f"has more than {TOKEN_CHARS_MAX} characters")
    return TaskToken(text)
