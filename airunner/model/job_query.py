"""Questions about many jobs, and their answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from airunner.model.jobs import Instant, Job, JobState, Position
from airunner.model.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from airunner.model.namespaces import DEFAULT_NAMESPACE, QueueKey
from airunner.model.spec import check_namespace, check_queue
from airunner.model.validation import check_range


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs, newest first. `before` wins over `page`."""

    namespace: str | None = DEFAULT_NAMESPACE  # None: all
    queue: str | None = None  # None: all
    state: JobState | None = None  # None: all
    page: int = 1  # from 1; what is on it moves as new jobs come
    before: Position | None = None  # only jobs enqueued before this one; stable as new jobs come
    page_size: int = PAGE_SIZE_DEFAULT

    def __post_init__(self) -> None:
        if self.queue is not None:
            check_queue(self.queue)
        if self.namespace is not None:
            check_namespace(self.namespace)
        check_range("page", self.page, 1, 2**31 - 1, "pages")
        check_range("page_size", self.page_size, 1, PAGE_SIZE_MAX, "jobs (PAGE_SIZE_MAX)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    jobs: tuple[Job, ...]
    last_page: int  # of the published page numbers; at least 1
    next: Position | None  # `before` of the next page; None: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatistics:
    """How a queue fares now."""

    queue: str
    counts: Mapping[JobState, int]  # every state is a key
    oldest: Instant | None  # when the job that is first in line was enqueued
    workers: int = 0  # that serve the queue
    slots: int = 0  # of those workers
    busy: int = 0  # of those slots
    namespace: str = DEFAULT_NAMESPACE

    @property
    def key(self) -> QueueKey:
        """The identity of the queue."""
        return QueueKey(self.queue, self.namespace)
