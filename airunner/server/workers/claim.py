"""The first message of a worker's stream: its limits, and its claim to be that worker."""

from airunner.model.errors import InvalidRequest, NotAllowed, Unreachable
from airunner.model.jobs import Subject
from airunner.model.limits import (
    HEARTBEAT_TOKENS_MAX,
    VISIBILITY_SECONDS_MAX,
    VISIBILITY_SECONDS_MIN,
    WORKER_FEATURES_MAX,
    WORKER_NAME_CHARS_MAX,
    WORKER_QUEUES_MAX,
    WORKER_SLOTS_MAX,
)
from airunner.model.protocol.channel import ChannelClosed
from airunner.model.protocol.incarnation import SECRET_BYTES_MAX, has_secret, is_proven
from airunner.model.protocol.worker_protocol import Hello
from airunner.model.spec import check_queue
from airunner.model.validation import check_count, check_range, check_text_size
from airunner.server.broker import Broker
from airunner.server.worker_calls import WorkerCalls


def check_hello(hello: Hello) -> None:
    """Raises InvalidRequest past a limit."""
    if not hello.worker:
        raise InvalidRequest("hello.worker", "is empty")
    check_text_size("hello.worker", hello.worker, 2 * WORKER_NAME_CHARS_MAX, "its limit")
    check_text_size("hello.name", hello.name, WORKER_NAME_CHARS_MAX, "WORKER_NAME_CHARS_MAX")
    check_count("hello.queues", hello.queues, WORKER_QUEUES_MAX, "WORKER_QUEUES_MAX")
    if not hello.queues:
        raise InvalidRequest("hello.queues", "is empty: name a queue to serve")
    for queue in hello.queues:
        check_queue(queue, "hello.queues")
    low, high = VISIBILITY_SECONDS_MIN * 1000, VISIBILITY_SECONDS_MAX * 1000
    check_range("hello.span_millis", hello.span, low, high, "ms")
    check_range("hello.slots", hello.slots, 1, WORKER_SLOTS_MAX, "jobs")
    check_range("hello.credit", hello.credit, 0, hello.slots, "jobs")
    check_range("hello.connection", hello.connection, 0, 2**63 - 1, "connections")
    check_count("hello.features", hello.features, WORKER_FEATURES_MAX, "WORKER_FEATURES_MAX")
    check_count("hello.holding", hello.holding, HEARTBEAT_TOKENS_MAX, "HEARTBEAT_TOKENS_MAX")
    check_range("hello.secret", len(hello.secret), 0, SECRET_BYTES_MAX, "bytes")


def claim_worker(broker: Broker, calls: WorkerCalls, hello: Hello, subject: Subject) -> None:
    """Refuses a Hello in the name of another worker, and one that a later Hello has made void.

    A lease is a claim of its own: a Hello that no subject is known for needs the token of one
    if the worker has any, as after a restart of the server.
    """
    workers, worker = broker.connected_workers, hello.worker
    if hello.secret or has_secret(worker):
        if not is_proven(worker, hello.secret):
            raise NotAllowed(f"the secret of this Hello is not that of worker {worker}")
    elif (owner := workers.owner(worker)) is None:
        if not calls.may_hold(worker, hello.holding):
            raise Unreachable(
                f"worker {worker} has jobs that this Hello does not list: try again when their "
                "leases have ended"
            )
    elif owner != subject:
        raise NotAllowed(f"worker {worker} belongs to another subject")
    if workers.is_void(worker, hello.connection, subject):
        raise ChannelClosed("the worker has opened a later stream")
    if not hello.secret and workers.is_connected(worker):
        raise Unreachable(f"an earlier stream of worker {worker} has not ended: try again")
