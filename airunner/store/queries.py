"""Answers to questions about many jobs, read from the table."""

from itertools import islice

from airunner.model.job_query import JobQuery, Page, QueueStatistics
from airunner.model.jobs import JobState
from airunner.model.namespaces import QueueKey
from airunner.store.table import Table


def page(table: Table, query: JobQuery) -> Page:
    """One page of jobs, the newest first; O(page_size log n)."""
    size = query.page_size
    total = table.lines.total(query.namespace, query.queue, query.state)
    skip = 0 if query.before is not None else (query.page - 1) * size
    ids = table.lines.newest(
        query.namespace, query.queue, query.state, before=query.before, skip=skip
    )
    jobs = [table.job(id) for id in islice(ids, size + 1)]
    return Page(
        jobs=tuple(jobs[:size]),
        last_page=max(1, -(-total // size)),
        next=jobs[size - 1].place if len(jobs) > size else None,
    )


def statistics(table: Table, queue: QueueKey) -> QueueStatistics:
    """The number of jobs of a queue in each state, without its workers."""
    first = table.lines.first(queue)
    return QueueStatistics(
        queue=queue.name,
        namespace=queue.namespace,
        counts={state: table.lines.count(queue, state) for state in JobState},
        oldest=None if first is None else table.job(first).created_at,
    )
