"""The seal: proves that the log of a finished job is complete and unchanged.

The Finished fact of a job carries a Seal: counts of events and bytes, and the last link of
a hash chain over all events (chain.py has the algorithm). A reader that reads the log from
its first event, computes the chain and arrives at the seal's digest has seen every event
and every byte of output, as they were when the job ended.
"""

from typing import NewType

from msgspec import Struct

Link = NewType("Link", bytes)  # SHA-256, 32 bytes; b"": no event yet
NOTHING = Link(b"")  # before the first event


class Seal(Struct, frozen=True, kw_only=True, gc=False):
    """The counts and the last link of a finished job's event stream."""

    count: int  # sequences, including the job's last event
    size: int  # bytes of output in the log
    cut: int  # bytes of output that the command wrote and the log does not hold
    digest: Link  # the link of the job's last event
