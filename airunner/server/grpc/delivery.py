"""The delivery of leased jobs to a caller that may disappear at any moment.

A written job belongs to its caller. The caller may cancel the call as soon as it has read the job:
a program that takes only the first message of a stream does so. The server learns of the write and of
the cancel at about the same time. The write alone decides, else a job that already runs would run
twice.
"""

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from airunner.server.workers.leased_job import LeasedJob

Write = Callable[[LeasedJob], Awaitable[None]]


async def deliver_first(undelivered: list[LeasedJob], write: Write) -> bool:
    """Writes the first job and removes it from the list; False if the caller is gone.

    After a cancel, the job is removed from the list if and only if it was written.
    """
    written = False
    try:
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(_written(write, undelivered[0]))
    finally:
        if written := writing.done() and not writing.cancelled() and writing.result():
            del undelivered[0]
    return written


async def _written(write: Write, leased: LeasedJob) -> bool:
    try:
        await write(leased)
    except (grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError):
        return False
    return True
