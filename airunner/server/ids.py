"""Sources of job ids and task tokens; a test passes its own."""

import secrets
import time
from typing import Protocol

from airunner.model.jobs import JobId, TaskToken


class Ids(Protocol):
    def job(self) -> JobId:
        """An id that no other job has."""
        ...

    def token(self) -> TaskToken:
        """A secret that cannot be guessed."""
        ...


class RandomIds:
    """UUIDv7 for jobs (RFC 9562, section 5.7), 192 random bits for tokens.

    The 12 bits after a UUID's milliseconds count fractions of a millisecond (method 3 of the RFC), so
    ids sort in the order in which they were made.
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
