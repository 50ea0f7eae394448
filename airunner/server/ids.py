"""Where names and secrets come from; a test passes in its own."""

import secrets
import time
import uuid
from typing import Protocol

from airunner.jobs import JobId, TaskToken


class Ids(Protocol):
    def job(self) -> JobId:
        """An id that no job has had."""
        ...

    def token(self) -> TaskToken:
        """A secret that nobody can guess."""
        ...


class RandomIds:
    """UUIDv7 for jobs (RFC 9562, section 5.7), 192 random bits for tokens.

    The 12 bits behind a UUID's milliseconds count fractions of them (method 3 of
    the RFC), so that ids made one after another sort in that order.
    """

    def __init__(self) -> None:
        self._last = 0

    def job(self) -> JobId:
        millis, nanos = divmod(time.time_ns(), 1_000_000)
        self._last = max(self._last + 1, millis << 12 | nanos * 4096 // 1_000_000)
        high = self._last >> 12 << 16 | 0x7000 | self._last & 0xFFF
        low = 0b10 << 62 | secrets.randbits(62)
        return JobId(str(uuid.UUID(int=high << 64 | low)))

    def token(self) -> TaskToken:
        return TaskToken(secrets.token_urlsafe(24))
