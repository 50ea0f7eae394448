"""Why a connection ended, and whether there is any use in another."""

from airunner.model.errors import Refused
from airunner.model.protocol.channel import ChannelClosed


def root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended a connection: a defect, else the server's refusal, else that it closed."""
    if group.split((Refused, ChannelClosed))[1] is not None:
        return group
    wanted = group.subgroup(Refused) or group
    found: BaseException = wanted
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


class RefusalPolicy:
    """How long a worker that was welcome bears refusals.

    A token file may be renewed late, which must not cost a job: so one that was ever welcome tries
    again for a span, and for as long as it holds jobs.
    """

    def __init__(self, span: float) -> None:
        """`span` is in seconds."""
        self._span = span
        self._welcomed = False
        self._since: float | None = None

    def welcome(self) -> None:
        self._welcomed = True
        self._since = None

    def ends(self, refusal: Refused, now: float, *, holding: bool) -> bool:
        """Whether this refusal is final."""
        if refusal.retry:
            return False
        if self._since is None:
            self._since = now
        return not (self._welcomed and (holding or now - self._since <= self._span))
