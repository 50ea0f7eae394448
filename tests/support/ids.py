"""Predictable ids for tests."""

from itertools import count

from airunner.model.jobs import JobId, TaskToken


class CountingIds:
    def __init__(self) -> None:
        self._jobs, self._tokens = count(1), count(1)

    def job(self) -> JobId:
        return JobId(f"job-{next(self._jobs)}")

    def token(self) -> TaskToken:
        return TaskToken(f"token-{next(self._tokens)}")
