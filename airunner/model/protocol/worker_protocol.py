"""The worker protocol: the messages of a native worker and the server, one stream per process.

    worker                                server
      Hello(holding, credit)  ------>
                              <------     Welcome(held, lost)
      Credit(more)            ------>
                              <------     Assignment(job, token)
      Batch(token, first, ...)------>
                              <------     Stored(token, sent)          durable up to `sent`
      Heartbeat(tokens)       ------>
                              <------     Renewal(renewed, lost)
                              <------     CancelOrder(token)
      Completion(token, last) ------>
                              <------     Settled(token)               durable, lease ended
      Farewell()              ------>                                  no further assignments
                              <------     Drain()                      the server shuts down

Rules

1. A worker numbers its reports from 1 in each attempt, without a gap. `first` of a Batch is
   the number of the Batch's first report.
2. Completion and GiveBack follow the last Batch of their attempt. `last` is the number of
   the last report, so that the server can prove that it has received all reports.
3. A worker holds a token from the Assignment until Settled, or until the lease is lost. A
   Hello lists every token that the worker holds. A lease of the same worker that a Hello
   does not list was never delivered, or is lost; its job returns to its place in line.
4. After a Hello, the worker repeats all reports that follow `sent` of each Held.
5. A Heartbeat and a Hello renew each lease by its whole span. The worker counts the span from
   the time at which it sent the message. A worker sends a Heartbeat every third of its span,
   also while it holds no lease: a server leases no job to a worker that has been silent for
   two thirds of its span.
6. A Hello sets the credit, a Credit adds to it, an Assignment takes one.
7. A Hello proves its worker by a secret that only this process has. The id of a worker without
   a secret belongs to the subject of its first stream: only the same subject may take it over,
   and only when the earlier stream has ended. A server that does not remember the subject, as
   after its restart, asks for the token of a lease instead, if the worker has any.
8. A Hello that arrives after a Hello of a later connection is void: the network delayed it.
9. Either side may put several messages into one network message. Their order and their
   meaning do not change.
"""

from msgspec import Struct

from airunner.model.jobs import Job, Millis, Outcome, TaskToken, WorkerId
from airunner.model.reports import Report

# From the worker


class Hello(Struct, frozen=True, kw_only=True, gc=False):
    """The first message of a stream: the worker, its capacity, and the leases that it holds."""

    worker: WorkerId  # of this worker process
    name: str
    queues: tuple[str, ...]  # in order of preference
    span: Millis  # the visibility timeout of the worker's leases
    slots: int  # jobs that the worker can run at once
    credit: int  # jobs that the worker can accept now
    holding: tuple[TaskToken, ...] = ()
    connection: int = 0  # 1, 2, 3 ... within this worker process; 0: not given
    secret: bytes = b""  # of this worker process, see incarnation.py; older workers have none
    features: tuple[str, ...] = ()  # names of Features; a server ignores unknown ones


class Credit(Struct, frozen=True, gc=False):
    """The worker can accept `more` jobs in addition to its present credit."""

    more: int


class Heartbeat(Struct, frozen=True, gc=False):
    """Renews the leases of these tokens."""

    tokens: tuple[TaskToken, ...]


class Batch(Struct, frozen=True, gc=False):
    """Reports of one attempt, numbered from `first` without a gap."""

    token: TaskToken
    first: int
    reports: tuple[Report, ...]


class Completion(Struct, frozen=True, gc=False):
    """Ends a job with an outcome; `last` is the number of the attempt's last report."""

    token: TaskToken
    last: int
    outcome: Outcome


class GiveBack(Struct, frozen=True, gc=False):
    """Returns a job to its place in line; `lost`: the attempt died, which counts as a failure."""

    token: TaskToken
    lost: bool = False
    log_complete: bool = True  # False: some reports of the attempt were not delivered
    last: int = 0  # the number of the attempt's last report; 0: no report, or not given


class Farewell(Struct, frozen=True, gc=False):
    """The worker drains: it accepts no further assignments."""


FromWorker = Hello | Credit | Heartbeat | Batch | Completion | GiveBack | Farewell

# From the server


class Held(Struct, frozen=True, gc=False):
    """A lease of a Hello that is still valid; `sent` is the number of its last stored report."""

    token: TaskToken
    sent: int
    cancelled: bool  # a cancellation of the job was requested


class Welcome(Struct, frozen=True, gc=False):
    """The answer to a Hello: which of its leases are still valid, and which have ended."""

    server: str  # version of the server
    held: tuple[Held, ...]
    lost: tuple[TaskToken, ...]


class Assignment(Struct, frozen=True, kw_only=True, gc=False):
    """A new lease and its job."""

    job: Job
    token: TaskToken
    span: Millis
    output_bytes_max: int  # the smaller of the job's limit and the log's limit per job


class Stored(Struct, frozen=True, gc=False):
    """All reports of the attempt up to the number `sent` are durable."""

    token: TaskToken
    sent: int


class Renewal(Struct, frozen=True, gc=False):
    """The answer to a Heartbeat; answers come in the order of the Heartbeats."""

    renewed: tuple[TaskToken, ...]
    lost: tuple[TaskToken, ...]


class CancelOrder(Struct, frozen=True, gc=False):
    """The worker is to stop the job and complete it."""

    token: TaskToken


class Settled(Struct, frozen=True, gc=False):
    """A Completion or a GiveBack is durable. The lease has ended; the token is no longer valid."""

    token: TaskToken


class Rejected(Struct, frozen=True, gc=False):
    """The server refuses a message for this token, and would refuse a repetition as well."""

    token: TaskToken
    status: str  # name of the canonical gRPC status code
    why: str
    lease_lost: bool


class Drain(Struct, frozen=True, gc=False):
    """The server is shutting down: the worker reconnects later, perhaps to another server."""


FromServer = Welcome | Assignment | Stored | Renewal | CancelOrder | Settled | Rejected | Drain
