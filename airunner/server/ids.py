"""Where names and secrets come from; a test passes in its own."""

import secrets
import time
from typing import Protocol

from airunner.model.jobs import JobId, TaskToken


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
        low = 0b10 << 62 | secrets.randbits(62)
        text = f"{self._last >> 12:012x}7{self._last & 0xFFF:03x}{low:016x}"
        return JobId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")

    def token(self) -> TaskToken:
        return TaskToken(secrets.token_urlsafe(24))
