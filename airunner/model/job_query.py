"""Queries over many jobs, and their results: pages of jobs, statistics of queues."""

from collections.abc import Mapping
from dataclasses import dataclass

from airunner.model.jobs import Instant, Job, JobState, Position
from airunner.model.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from airunner.model.namespaces import DEFAULT_NAMESPACE, QueueKey
from airunner.model.spec import check_namespace, check_queue
from airunner.model.validation import check_range


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """A filter and a page of the list of jobs, newest first. `before` overrides `page`."""

    namespace: str | None = DEFAULT_NAMESPACE  # None: all namespaces
    queue: str | None = None  # None: all queues
    state: JobState | None = None  # None: all states
    page: int = 1  # from 1; its content shifts as new jobs are enqueued
    before: Position | None = None  # only jobs enqueued before this position; stable
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
    """One page of the list of jobs."""

    jobs: tuple[Job, ...]
    last_page: int  # the last page number for `JobQuery.page`; at least 1
    next: Position | None  # `before` of the next page; None: this is the last page


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatistics:
    """The current numbers of jobs and workers of a queue."""

    queue: str
    counts: Mapping[JobState, int]  # every state is a key
    oldest: Instant | None  # enqueue time of the first job in line; None: no job in line
    workers: int = 0  # connected workers that serve the queue
    slots: int = 0  # of these workers, in total
    busy: int = 0  # slots that run a job
    namespace: str = DEFAULT_NAMESPACE

    @property
    def key(self) -> QueueKey:
        """The identity of the queue."""
        return QueueKey(self.queue, self.namespace)
