"""Handing leased jobs to a caller who may go away at any moment.

A job that was written is its caller's, who may cancel the call as soon as it has read the
job: that is how a program takes the first message of a stream and no more. A server hears
of both at about the same time. So what decides is whether the job was written, and never
whether the call was cancelled meanwhile; else a job that somebody runs would run twice.
"""

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from airunner.server.workers.leased_job import LeasedJob

Write = Callable[[LeasedJob], Awaitable[None]]


async def deliver_first(undelivered: list[LeasedJob], write: Write) -> bool:
    """Write the first job and cross it off; False if the caller is gone.

    Cancelled, it has crossed the job off if and only if the job was written.
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
