"""The statistics of a worker's session."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatistics:
    """Plain numbers about a session, for metrics."""

    connected: int  # 1 from a Welcome to the end of its connection, else 0
    connections: int  # Welcomes since the worker's start
    leases_held: int  # leases neither settled nor lost, those of dead workers included
    credit: int  # further jobs that the worker accepts
    messages_waiting: int  # farewell, heartbeat, credit, and each lease with something to send
    heartbeats_unanswered: int  # on this connection
    seconds_since_renewal: float  # since the last acknowledged renewal was sent; inf: none yet
