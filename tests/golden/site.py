"""Real server and worker on the golden data, and their answers about every job."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from hashlib import blake2b
from pathlib import Path

from airunner.model.job_events import JobFinished
from airunner.model.job_query import JobQuery
from airunner.model.jobs import Job, JobId, Position
from airunner.model.reports import Output, OutputCut
from airunner.wire.client.artifacts_client import ArtifactsClient
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.follow import follow
from airunner.wire.client.jobs_client import JobsClient
from tests.golden.data import Json, plain, sequences, stream_facts, unpack
from tests.support.installation import PATIENCE, Process, Site

WORK = "box"  # the worker's folder
SOURCES = "jobs"
SPOOLS = "spools-"
QUEUES = ("real", "runs", "returned")

SERVED = (  # members of a job that the server sends to clients
    *("id", "spec", "created_at", "request", "submitter", "retry_of", "state", "attempt"),
    *("failures", "cancel_requested_at", "outcome", "finished_at", "seal", "sequence"),
    *("output_bytes", "output_bytes_cut", "artifacts", "artifact_bytes"),
)
ATTEMPT = ("number", "worker", "leased_at", "ended_at", "ending")


class GoldenSite(Site):
    """A site with the golden log, and on demand the golden spools and sources."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        unpack("server", folder)

    def take_over(self) -> Process:
        """Start a worker on the spools of the killed worker, renamed for this server's address."""
        unpack("spools", self.folder)
        unpack("results", self.folder)
        name = blake2b(self.address.encode(), digest_size=4).hexdigest()
        for path in (self.folder / WORK).glob(f"{SPOOLS}*"):
            path.rename(path.with_name(f"{SPOOLS}{name}-{path.name.rpartition('-')[2]}"))
        return self.start_worker(
            *("--name", "golden-heir", "--work-dir", WORK, "--jobs-dir", SOURCES, "--slots", "4"),
            *(word for queue in QUEUES for word in ("--queue", queue)),
        )


def destination(it: Site) -> Endpoint:
    """Address and CA certificate of the site's server."""
    return Endpoint(server=it.address, ca_cert=it.certs / "ca.pem")


def spools(folder: Path) -> list[Path]:
    """Spool folders of attempts."""
    return sorted((folder / WORK).glob(f"{SPOOLS}*/*.*"))


def refused(folder: Path) -> list[str]:
    """Names of refused spools."""
    return sorted(os.listdir(folder / WORK / "refused"))


async def pages(jobs: JobsClient, listing: JobQuery) -> AsyncIterator[Job]:
    """All jobs of a list, newest first."""
    while True:
        page = await jobs.list(listing)
        for job in page.jobs:
            yield job
        if page.next is None:
            return
        listing = JobQuery(queue=listing.queue, state=listing.state, before=page.next)


async def served(jobs: JobsClient, artifacts: ArtifactsClient, id: JobId) -> Json:
    """A job as a client sees it: its members, its stream and its artifacts."""
    job, _ = await jobs.get(id)
    facts = plain(job)
    stream = jobs.watch(id, stop_at_tail=True)
    async with aclosing(stream) as entries:
        told = stream_facts([entry async for entry in entries])
    kept = []
    for each in await artifacts.list(id):
        async with aclosing(artifacts.download(id, each)) as chunks:  # checks the digest
            assert sum([len(chunk) async for chunk in chunks]) == each.size
        kept.append(plain(each))
    return {"job": told_of(facts), "stream": told, "artifacts": kept}


def told_of(facts: Json) -> Json:
    """Members of a job without tokens and log positions, which stay on the server."""
    attempts = [{name: each[name] for name in ATTEMPT} for each in facts["attempts"]]
    return {**{name: facts[name] for name in SERVED}, "attempts": attempts}


async def followed(jobs: JobsClient, after: int, through: int, log: str) -> list[str]:
    """Sequences that a follower of all jobs receives between two log positions, one line each."""
    lines: dict[str, None] = {}  # a grown cut repeats its sequences
    async with aclosing(jobs.watch_all(after=Position(after), log=log)) as told:
        async for heard in told:
            for id, entry in heard.events:
                new = list(sequences(id, entry))
                assert isinstance(entry.body, OutputCut) or lines.keys().isdisjoint(new)
                lines |= dict.fromkeys(new)
            if heard.position >= through:
                return list(lines)
    raise AssertionError(f"the stream ended before place {through}")


async def ends(it: Site, ids: Sequence[JobId]) -> dict[str, Json]:
    """Wait for the ends of these jobs: outcomes, and the output of each last attempt."""
    async with JobsClient(destination(it)) as jobs, ArtifactsClient(destination(it)) as artifacts:

        async def end(id: JobId) -> Json:
            wrote = ""
            async with aclosing(follow(jobs, id)) as entries:
                seen = [entry async for entry in entries]
            ended = seen[-1].body
            assert isinstance(ended, JobFinished)
            for entry in seen:
                if entry.attempt == seen[-1].attempt and isinstance(entry.body, Output):
                    wrote += "".join(repr(each.data)[2:-1] for each in entry.body.chunks)
            job, _ = await jobs.get(id)
            facts = plain(ended)
            outcome = {
                name: facts["outcome"][name]
                for name in ("reason", "exit_code", "signal", "log_complete")
            }
            return {
                "state": facts["state"],
                "outcome": outcome,
                "steps": [
                    {name: each[name] for name in ("name", "status", "exit_code")}
                    for each in facts["outcome"]["steps"]
                ],
                "attempt": job.attempt,
                "failures": job.failures,
                "wrote": plain(wrote),
                "artifacts": [plain(each) for each in await artifacts.list(id)],
            }

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            ending = {id: tasks.create_task(end(id)) for id in ids}
    return {id: task.result() for id, task in ending.items()}
