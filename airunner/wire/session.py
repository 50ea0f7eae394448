"""What a native worker and the server say to each other, on the wire, in both directions."""

from collections.abc import Iterable
from typing import assert_never

from airunner.errors import InvalidRequest
from airunner.jobs import Millis, TaskToken, WorkerId
from airunner.session import (
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
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.jobs import decode_job, encode_job
from airunner.wire.refusals import code_named, code_numbered
from airunner.wire.reports import decode_reports, encode_reports
from airunner.wire.results import decode_outcome, encode_outcome


def encode_from_worker(message: FromWorker) -> pb.WorkRequest:
    match message:
        case Hello():
            return pb.WorkRequest(
                hello=pb.Hello(
                    worker=message.worker,
                    name=message.name,
                    queues=message.queues,
                    span_millis=message.span,
                    slots=message.slots,
                    credit=message.credit,
                    holding=message.holding,
                    connection=message.connection,
                )
            )
        case Credit(more):
            return pb.WorkRequest(credit=pb.Credit(more=more))
        case Heartbeat(tokens):
            return pb.WorkRequest(heartbeat=pb.Heartbeat(task_tokens=tokens))
        case Batch(token, first, reports):
            events = encode_reports(reports, first)
            return pb.WorkRequest(batch=pb.Batch(task_token=token, first=first, events=events))
        case Completion(token, last, outcome):
            result = encode_outcome(outcome)
            return pb.WorkRequest(
                completion=pb.Completion(task_token=token, last=last, result=result)
            )
        case GiveBack(token, lost, complete, last):
            return pb.WorkRequest(
                give_back=pb.GiveBack(
                    task_token=token, lost=lost, log_incomplete=not complete, last=last
                )
            )
        case Farewell():
            return pb.WorkRequest(farewell=pb.Farewell())
        case _:
            assert_never(message)


def decode_from_worker(request: pb.WorkRequest) -> FromWorker:
    """The message; InvalidRequest if it is none or breaks a rule."""
    match request.WhichOneof("message"):
        case "hello":
            return _decode_hello(request.hello)
        case "credit":
            return Credit(request.credit.more)
        case "heartbeat":
            return Heartbeat(_tokens(request.heartbeat.task_tokens))
        case "batch":
            reports = tuple(report for _, report in decode_reports(request.batch.events))
            return Batch(TaskToken(request.batch.task_token), request.batch.first, reports)
        case "completion":
            completion = request.completion
            outcome = decode_outcome(completion.result)
            return Completion(TaskToken(completion.task_token), completion.last, outcome)
        case "give_back":
            back = request.give_back
            complete = not back.log_incomplete
            return GiveBack(TaskToken(back.task_token), back.lost, complete, back.last)
        case "farewell":
            return Farewell()
        case _:
            raise InvalidRequest("message", "is empty, or of a kind that this server does not know")


def encode_from_server(message: FromServer) -> pb.WorkResponse:
    match message:
        case Welcome(server, held, lost):
            kept = [
                pb.Held(task_token=each.token, sent=each.sent, cancelled=each.cancelled)
                for each in held
            ]
            return pb.WorkResponse(welcome=pb.Welcome(server=server, held=kept, lost=lost))
        case Assignment():
            return pb.WorkResponse(
                assignment=pb.Assignment(
                    job=encode_job(message.job),
                    task_token=message.token,
                    span_millis=message.span,
                    output_bytes_max=message.output_bytes_max,
                )
            )
        case Stored(token, sent):
            return pb.WorkResponse(stored=pb.Stored(task_token=token, sent=sent))
        case Renewal(renewed, lost):
            return pb.WorkResponse(renewal=pb.Renewal(renewed=renewed, lost=lost))
        case CancelOrder(token):
            return pb.WorkResponse(cancel_order=pb.CancelOrder(task_token=token))
        case Settled(token):
            return pb.WorkResponse(settled=pb.Settled(task_token=token))
        case Rejected(token, status, why, lease_lost):
            rejected = pb.Rejected(
                task_token=token, code=code_numbered(status), message=why, lease_lost=lease_lost
            )
            return pb.WorkResponse(rejected=rejected)
        case Drain():
            return pb.WorkResponse(drain=pb.Drain())
        case _:
            assert_never(message)


def decode_from_server(response: pb.WorkResponse) -> FromServer:
    """The message; InvalidRequest if the server is newer and says what is not known here."""
    match response.WhichOneof("message"):
        case "welcome":
            welcome = response.welcome
            held = tuple(
                Held(TaskToken(each.task_token), each.sent, each.cancelled) for each in welcome.held
            )
            return Welcome(welcome.server, held, _tokens(welcome.lost))
        case "assignment":
            assignment = response.assignment
            return Assignment(
                job=decode_job(assignment.job),
                token=TaskToken(assignment.task_token),
                span=Millis(assignment.span_millis),
                output_bytes_max=assignment.output_bytes_max,
            )
        case "stored":
            return Stored(TaskToken(response.stored.task_token), response.stored.sent)
        case "renewal":
            return Renewal(_tokens(response.renewal.renewed), _tokens(response.renewal.lost))
        case "cancel_order":
            return CancelOrder(TaskToken(response.cancel_order.task_token))
        case "settled":
            return Settled(TaskToken(response.settled.task_token))
        case "rejected":
            rejected = response.rejected
            status = code_named(rejected.code).name
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
