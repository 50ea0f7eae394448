"""A namespace parts the queues, keys and lists of a server: nothing of one is in another."""

from airunner.model.job_query import JobQuery
from airunner.model.jobs import Instant, JobId, JobRequest, JobState, Position, RequestId, WorkerId
from airunner.model.namespaces import QueueKey
from airunner.model.spec import JobSpec
from airunner.server.client_calls import ClientCalls
from airunner.server.policy import Caller, Role, job_request
from airunner.server.worker_calls import WorkerCalls
from airunner.store.engine import Engine
from tests.server.broker_fixture import MINUTE, served
from tests.support.loop import virtually

NOW = Instant(1_000)


def wish(namespace: str, request: str = "", queue: str = "default") -> JobRequest:
    return JobRequest(
        spec=JobSpec(command="true", namespace=namespace, queue=queue), request=RequestId(request)
    )


@virtually
async def test_a_worker_of_one_namespace_gets_no_job_of_another() -> None:
    async with served() as (broker, _):
        clients, workers = ClientCalls(broker), WorkerCalls(broker)
        mine = await clients.enqueue(wish("blue"))
        await clients.enqueue(wish("red"))
        jobs = [
            await workers.lease(
                ("default",), worker=WorkerId("w"), span=MINUTE, namespace=name, wait=1
            )
            for name in ("blue", "blue", "default")
        ]
        assert [[each.job.id for each in some] for some in jobs] == [[mine.id], [], []]


@virtually
async def test_a_job_ahead_in_another_namespace_counts_for_nobody() -> None:
    async with served() as (broker, _):
        clients = ClientCalls(broker)
        await clients.enqueue(wish("red"))
        job = await clients.enqueue(wish("blue"))
        reason = clients.explain(job)
        assert reason is not None
        assert reason.ahead == 0


@virtually
async def test_the_same_request_id_is_another_job_in_another_namespace() -> None:
    async with served() as (broker, _):
        clients = ClientCalls(broker)
        one = await clients.enqueue(wish("red", "key"))
        other = await clients.enqueue(wish("blue", "key"))
        assert one.id != other.id
        assert (await clients.enqueue(wish("red", "key"))).id == one.id


@virtually
async def test_lists_and_statistics_are_of_one_namespace_or_of_all() -> None:
    async with served() as (broker, _):
        clients = ClientCalls(broker)
        names = ("red", "blue", "red", "default")
        ids = [(await clients.enqueue(wish(name))).id for name in names]
        for namespace, wanted in (
            ("red", [ids[2], ids[0]]),
            ("default", [ids[3]]),
            ("green", []),
            (None, ids[::-1]),
        ):
            for queue in (None, "default"):
                page = await clients.page(JobQuery(namespace=namespace, queue=queue))
                assert [job.id for job in page.jobs] == wanted
        (red,) = clients.queue_statistics(namespace="red")
        assert (red.key, red.counts[JobState.SCHEDULED]) == (QueueKey("default", "red"), 2)
        assert [each.namespace for each in clients.queue_statistics(namespace=None)] == [
            "blue",
            "default",
            "red",
        ]
        assert clients.queue_statistics(namespace="green") == ()


@virtually
async def test_pages_of_statistics_may_end_between_two_namespaces_of_a_queue() -> None:
    async with served() as (broker, _):
        clients = ClientCalls(broker)
        for namespace in ("red", "blue", "default"):
            for queue in ("q", "r"):
                await clients.enqueue(wish(namespace, queue=queue))
        for asked, names in ((None, ("q", "r")), ("q", ("q",))):
            found, after = list[QueueKey](), None
            while page := clients.queue_statistics(asked, namespace=None, after=after, most=2):
                found += [each.key for each in page]
                after = page[-1].key
            assert found == [
                QueueKey(n, space) for n in names for space in ("blue", "default", "red")
            ]


def test_a_request_is_in_the_namespace_of_its_caller() -> None:
    for namespace in ("default", "red"):
        caller = Caller(
            subject=wish("x").submitter,
            roles=frozenset({Role.USER}),
            expires=None,
            namespace=namespace,
        )
        assert job_request(JobSpec(command="true"), "", caller).spec.namespace == namespace


def test_pages_of_all_namespaces_follow_each_other() -> None:
    engine = Engine()
    for number, name in enumerate(("red", "blue", "red")):
        request = wish(name)
        engine.record(engine.queue.enqueue(JobId(f"job {number}"), request, NOW), NOW)
    lines = engine.table.lines
    assert list(lines.newest(before=Position(3))) == ["job 1", "job 0"]
    assert list(lines.newest(None, "default", JobState.SCHEDULED)) == ["job 2", "job 1", "job 0"]
    assert lines.total("red") == 2
