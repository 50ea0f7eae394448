"""Namespaces: the part of a server that a subject belongs to.

Every job, queue and idempotency key is in one namespace. A caller that names none is in the default.
"""

from typing import Final, NamedTuple

DEFAULT_NAMESPACE: Final = "default"


class QueueKey(NamedTuple):
    """The identity of a queue: two namespaces may each have a queue of the same name."""

    name: str
    namespace: str = DEFAULT_NAMESPACE
