"""What proves that a job's log is whole.

When a job ends, the fact that says so carries a Seal: how much there is, and the last
link of a chain of digests through all of it (chain.py says how one is made). Whoever
reads the log from its first event on, makes the chain again and comes to the same digest
has seen every event and every byte of output, as they were when the job ended.
"""

from typing import NewType

from msgspec import Struct

Link = NewType("Link", bytes)  # SHA-256, 32 bytes; b"": of nothing
NOTHING = Link(b"")  # before the first event


class Seal(Struct, frozen=True, kw_only=True, gc=False):
    count: int  # sequences, the end of the job included
    size: int  # bytes of output that were kept
    cut: int  # bytes of output that were written and not kept
    digest: Link  # through the end of the job
