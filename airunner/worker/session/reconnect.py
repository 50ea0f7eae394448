"""The cause of a connection's end, and whether the worker connects again after a refusal."""

from airunner.model.errors import Refused
from airunner.model.protocol.channel import ChannelClosed


def root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that ended a connection: a defect, else a refusal, else the close."""
    if group.split((Refused, ChannelClosed))[1] is not None:
        return group
    wanted = group.subgroup(Refused) or group
    found: BaseException = wanted
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


class RefusalPolicy:
    """Decides whether a refusal is final for this worker.

    A token file may be renewed late, and a late renewal must not cost a job. So a worker that a
    server has welcomed before tries again for one span, and for as long as it holds leases.
    """

    def __init__(self, span: float) -> None:
        """`span` is in seconds."""
        self._span = span
        self._welcomed = False
        self._refused_since: float | None = None

    def welcome(self) -> None:
        """Records that a server has accepted this worker."""
        self._welcomed = True
        self._refused_since = None

    def is_final(self, refusal: Refused, now: float, *, holding: bool) -> bool:
        """Whether the worker gives up after this refusal; `holding`: it holds leases."""
        if refusal.retry:
            return False
        if self._refused_since is None:
            self._refused_since = now
        return not (self._welcomed and (holding or now - self._refused_since <= self._span))
