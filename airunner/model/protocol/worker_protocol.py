"""What a native worker and the server say to each other, on one stream a worker process.

    worker                                server
      Hello(holding, credit)  ------>
                              <------     Welcome(held, lost)
      Credit(more)            ------>
                              <------     Assignment(job, token)
      Batch(token, first, ...)------>
                              <------     Stored(token, sent)          durable up to here
      Heartbeat(tokens)       ------>
                              <------     Renewal(renewed, lost)
                              <------     CancelOrder(token)
      Completion(token, last) ------>
                              <------     Settled(token)               durable, lease over
      Farewell()              ------>                                  no more assignments, please
                              <------     Drain()                      the server is going away

Rules

1. A worker's number of its reports starts at 1 in each attempt and has no gap.
   `first` of a Batch is the number of its first report.
2. Completion and GiveBack travel behind the last Batch of their attempt. `last`
   is the number of the last report, so that the server can prove that it has all.
3. A worker holds a token from the Assignment until Settled or until it is lost. A
   Hello lists every token that it holds. A lease of the same worker that a Hello
   does not list was never delivered, or is lost, and goes back to its place in line.
4. After a Hello, the worker sends again whatever follows `sent` of each Held.
5. A Heartbeat and a Hello renew each lease by its whole span. The worker counts that
   span from when it sent them. A worker sends one every third of its span, also while it
   holds nothing: a server gives no job to a worker that has been silent for two thirds.
6. Credit adds up. A Hello sets it. An Assignment takes one.
7. A Hello that comes after one of a later connection is void: the network had kept it.
8. What either side has to say at a moment may travel together. That changes neither its order
   nor what any of it means.
"""

from msgspec import Struct

from airunner.model.jobs import Job, Millis, Outcome, TaskToken, WorkerId
from airunner.model.reports import Report

# Up


class Hello(Struct, frozen=True, kw_only=True, gc=False):
    worker: WorkerId  # this incarnation
    name: str
    queues: tuple[str, ...]  # in order of preference
    span: Millis  # the visibility timeout of its leases
    slots: int  # jobs that it can run at once
    credit: int  # jobs that it can take now
    holding: tuple[TaskToken, ...] = ()
    connection: int = 0  # 1, 2, 3 ... of this incarnation; 0: not said


class Credit(Struct, frozen=True, gc=False):
    more: int


class Heartbeat(Struct, frozen=True, gc=False):
    tokens: tuple[TaskToken, ...]


class Batch(Struct, frozen=True, gc=False):
    token: TaskToken
    first: int
    reports: tuple[Report, ...]


class Completion(Struct, frozen=True, gc=False):
    token: TaskToken
    last: int
    outcome: Outcome


class GiveBack(Struct, frozen=True, gc=False):
    """Return a job to its place in line; `lost`: the attempt died, which counts as a failure."""

    token: TaskToken
    lost: bool = False
    log_complete: bool = True  # False: reports of the attempt are missing before this
    last: int = 0  # the number of the last report; 0: not said, or there is none


class Farewell(Struct, frozen=True, gc=False):
    """The worker drains: no more assignments."""


FromWorker = Hello | Credit | Heartbeat | Batch | Completion | GiveBack | Farewell

# Down


class Held(Struct, frozen=True, gc=False):
    """A lease that has survived, and the number of its last stored report."""

    token: TaskToken
    sent: int
    cancelled: bool  # a cancel was requested


class Welcome(Struct, frozen=True, gc=False):
    server: str  # its version
    held: tuple[Held, ...]
    lost: tuple[TaskToken, ...]


class Assignment(Struct, frozen=True, kw_only=True, gc=False):
    job: Job
    token: TaskToken
    span: Millis
    output_bytes_max: int  # the job's own limit, or less where the log holds less


class Stored(Struct, frozen=True, gc=False):
    """All reports of the attempt up to the number `sent` are durable."""

    token: TaskToken
    sent: int


class Renewal(Struct, frozen=True, gc=False):
    """The answer to one Heartbeat, in the order of the Heartbeats."""

    renewed: tuple[TaskToken, ...]
    lost: tuple[TaskToken, ...]


class CancelOrder(Struct, frozen=True, gc=False):
    token: TaskToken


class Settled(Struct, frozen=True, gc=False):
    """A Completion or a GiveBack is durable, and the token is dead."""

    token: TaskToken


class Rejected(Struct, frozen=True, gc=False):
    """The server will never take what was sent for this token."""

    token: TaskToken
    status: str  # canonical gRPC status code, by name
    why: str
    lease_lost: bool


class Drain(Struct, frozen=True, gc=False):
    """The server is going away: reconnect, elsewhere or later."""


FromServer = Welcome | Assignment | Stored | Renewal | CancelOrder | Settled | Rejected | Drain
