"""No worker's stream is opened in the name of another worker."""

from contextlib import suppress

import pytest
from msgspec.structs import replace

from airunner.model.errors import InvalidRequest, NotAllowed, Refused, Unreachable
from airunner.model.jobs import JobState, Subject, TaskToken, WorkerId
from airunner.model.protocol.channel import ChannelClosed
from airunner.model.protocol.incarnation import SECRET_BYTES_MAX, has_secret, is_proven, worker_id
from airunner.model.protocol.worker_protocol import Hello, Welcome
from airunner.server.workers.connected_workers import ConnectedWorkers
from tests.promises import holds
from tests.server.workers.test_worker_session import Site, assigned, hello, site
from tests.support.loop import virtually

EVE = Subject("eve")


async def refused(at: Site, message: Hello, subject: Subject = EVE) -> Refused | None:
    """The refusal of a Hello; None if it is welcomed."""
    worker, session = at.connect(subject=subject)
    await worker.send(message)
    with suppress(ChannelClosed):
        assert isinstance(await worker.receive(), Welcome)
    worker.cut()
    return await session


def test_the_id_of_a_worker_is_proven_by_its_secret_alone() -> None:
    ann = worker_id("ann.of.the.pool", b"secret")
    assert has_secret(ann)
    assert is_proven(ann, b"secret")
    assert not is_proven(ann, b"guess")
    assert not is_proven(ann, b"")
    assert not has_secret(WorkerId("ann.0123456789abcdef"))  # as older workers have it


@holds("jobs/one-worker-at-a-time")
@virtually
async def test_a_stream_in_the_name_of_another_worker_is_refused() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello(secret=b"of ann", connection=3))
        await assigned(worker)
        ann = hello(secret=b"of ann").worker
        for secret in (b"", b"guess"):
            for subject in (EVE, Subject("sue")):
                lie = hello(worker=ann, connection=2**63 - 1)
                claim = await refused(at, with_secret(lie, secret), subject)
                assert isinstance(claim, NotAllowed), claim
        assert not session.done()
        assert await at.state(job.id) == (JobState.RUNNING, 0)
        worker.cut()
        await session
        assert await refused(at, hello(secret=b"of ann", connection=4)) is None


@holds("jobs/one-worker-at-a-time")
@virtually
async def test_an_older_worker_is_taken_over_by_its_subject_and_after_its_stream() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello())
        lease = await assigned(worker)
        assert isinstance(await refused(at, hello()), NotAllowed)
        assert isinstance(await refused(at, hello(), Subject("sue")), Unreachable)
        assert not session.done()
        worker.cut()
        await session
        assert isinstance(await refused(at, hello()), NotAllowed)
        assert await at.state(job.id) == (JobState.RUNNING, 0)
        assert await refused(at, hello(lease.token), Subject("sue")) is None
        assert await at.state(job.id) == (JobState.RUNNING, 0)


@holds("jobs/one-worker-at-a-time")
@virtually
async def test_after_a_restart_an_older_worker_with_jobs_proves_itself_by_one_of_them() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello())
        lease = await assigned(worker)
        worker.cut()
        await session
        at.broker.connected_workers = ConnectedWorkers()  # as a new server knows it
        assert isinstance(await refused(at, hello()), Unreachable)
        assert isinstance(await refused(at, hello(TaskToken("guess"))), Unreachable)
        assert await at.state(job.id) == (JobState.RUNNING, 0)
        assert await refused(at, hello(lease.token), Subject("sue")) is None
        assert await at.state(job.id) == (JobState.RUNNING, 0)


@virtually
async def test_a_secret_is_short() -> None:
    async with site() as at:
        long = hello(secret=b"x" * (SECRET_BYTES_MAX + 1))
        with pytest.raises(InvalidRequest, match=r"hello\.secret"):
            raise await refused(at, long) or AssertionError


def with_secret(message: Hello, secret: bytes) -> Hello:
    return replace(message, secret=secret)
