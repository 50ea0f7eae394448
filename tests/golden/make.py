"""Program that made the golden data with the code of commit ea7f2a1: `python -m tests.golden.make`.

It documents the data and never runs again: data made by later code would prove nothing. Its
parts work in one folder, FOLDER, which must not exist:

1. The core tells a history (history.py), which a log of that commit stores.
2. A real server goes on with it, real workers run jobs, and both are killed with SIGKILL: the
   server during an upload, the worker while jobs run, and while the ends of other jobs wait in
   its spools for the server.
3. A process is killed with SIGKILL between the facts of retention and the work of retention.
4. The folder is packed, and the code's answers about it are recorded as expected values.
"""

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from itertools import chain
from lzma import compress
from pathlib import Path
from random import Random

from msgspec.json import encode

from airunner.artifacts import Artifact
from airunner.facts import (
    ArtifactsDropped,
    Forgotten,
    OutputDropped,
)
from airunner.jobs import Instant, Job, JobId, JobState
from airunner.limits import ARTIFACT_CHUNK_BYTES
from airunner.listing import Listing
from airunner.log.sqlite import SqliteLog
from airunner.retention import ON_DISK
from airunner.server.replay import replay
from airunner.store.engine import Engine
from airunner.wire.artifacts import encode_artifact
from airunner.wire.client import JobsClient
from airunner.wire.dial import dial
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobArtifactsServiceStub
from tests.golden.core import replayed
from tests.golden.data import EXPECTED, LOG, Json, pack, records
from tests.golden.history import History, tell
from tests.golden.site import (
    QUEUES,
    SOURCES,
    WORK,
    GoldenSite,
    destination,
    ends,
    followed,
    pages,
)
from tests.server.serving import until
from tests.support.site import Process, Site

FOLDER = Path("/tmp/golden")
ARTIFACTS = f"{LOG}-artifacts"
STRAY = "01900000-0000-7000-8000-000000000000"  # a job that no log knows
GO = FOLDER / "go"
WAIT = f"until [ -e {GO} ]; do sleep 0.05; done"
FIRST = '[ "$AIRUNNER_ATTEMPT" = 1 ]'

# Attempts of the killed worker: ended but not reported, or running
ENDED = {
    "code": ("--script", f"echo begun; {WAIT}; echo ended; exit 3"),
    "success": ("--name", "b\u00fcild", "--script", f"echo begun; {WAIT}; echo ended >&2"),
    "steps": ("--step", f"echo begun; {WAIT}", "--step", "echo two; exit 1", "--step", "echo 3"),
    "pty": ("--pty", "--script", f"echo begun; {WAIT}; stty size"),
    "signal": ("--script", f"echo begun; {WAIT}; kill -9 $$"),
    "long": ("--script", f"echo begun; {WAIT}; seq 1 6000"),
    "cancelled": (
        *("--grace", "60", "--script"),
        f"trap '{WAIT}; echo ended; exit 9' TERM; echo begun; while :; do sleep 0.05; done",
    ),
    "source": ("--source", "ended", "--script", f"echo begun; {WAIT}; echo made | tee made"),
}
RUNNING = {
    "loop": ("--script", f"echo begun; {FIRST} || exit 0; while :; do echo on; sleep 0.02; done"),
    "last": ("--attempts-max", "1", "--script", "echo begun; exec sleep 1000"),
    "upload": (
        *("--artifact", "made", "--script"),
        f"echo begun; {FIRST} && {WAIT}; echo made >made",
    ),
    "source": (
        *("--source", "running", "--script"),
        f"echo begun | tee made; {FIRST} && exec sleep 1000; exit 0",
    ),
    "cancelled": (
        *("--grace", "3600", "--script"),
        "trap '' TERM; echo begun; while :; do sleep 0.05; done",
    ),
    "environment": (
        *("--env", "SECRET=hidden", "--script"),
        f"echo begun $SECRET; {FIRST} && exec sleep 1000; exit 0",
    ),
}
DONE: Sequence[tuple[str, ...]] = (
    ("--", "sh", "-c", "echo out; echo err >&2"),
    ("--script", "echo $GREETING; exit 3", "--env", "GREETING=hello"),
    ("--script", "kill -9 $$"),
    ("--pty", "--columns", "100", "--script", "stty size"),
    ("--step", "echo one", "--step", "exit 4", "--step", "echo three"),
    ("--artifact", "*.txt", "--script", "echo made >a.txt; echo not >b; chmod +x a.txt"),
    ("--artifact", "./dist", "--script", "true"),
    ("--source", "running", "--script", "echo earlier | tee made"),
    ("--source", "build"),
    ("--source", "build"),
    ("--timeout", "1", "--grace", "0", "--script", "echo begun; exec sleep 60"),
    ("--", "no-such-command-anywhere"),
    (str(FOLDER / "repository"), "--", "cat", "file"),
    (str(FOLDER / "no-repository"), "--", "true"),
)


async def _write(history: History) -> None:
    """Part 1: write the history to a log in batches of a server's size, and its artifacts."""
    log, dice, left = SqliteLog.open(FOLDER / LOG), Random(7), history.events
    while left:
        size = dice.randint(1, 40)
        await log.append(left[:size])
        left = left[size:]
    await log.trimmed()
    await log.close()
    for (id, attempt), files in history.bytes.items():
        job = history.engine.table.find(id)
        if job and job.artifacts and job.attempt == attempt:
            _put(id, attempt, *files.values())


def _put(id: str, attempt: int, *files: bytes) -> None:
    for data in files:
        path = FOLDER / ARTIFACTS / id / str(attempt) / sha256(data).hexdigest()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(data)


def _sources(it: Site) -> None:
    """Make a repository and the sources of jobs."""
    for name in ("build", "ended", "running"):
        (FOLDER / SOURCES / name).mkdir(parents=True)
        (FOLDER / SOURCES / name / "data").write_text(f"data of {name}\n")
    steps = ["cat data | tee out", {"name": "link", "run": "mkdir d; ln -s ../out d/link"}]
    (FOLDER / SOURCES / "build" / "job.json").write_bytes(encode({"steps": steps}))
    repository = FOLDER / "repository"
    repository.mkdir()
    (repository / "file").write_text("of the repository\n")
    person = {
        f"GIT_{who}_{what}": "golden"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    for words in ("init -q -b main", "add file", "commit -q -m golden"):
        subprocess.run(
            ["git", *words.split()], cwd=repository, env=it.environment | person, check=True
        )


def _worker(it: Site, *arguments: str) -> Process:
    return it.start_worker("--work-dir", WORK, "--queue", "real", *arguments)


def _kill(process: Process) -> None:
    process.signal(signal.SIGKILL)
    process.wait()


def _run(it: Site, history: History) -> dict[str, JobId]:
    """Part 2: run server and workers. Returns the jobs whose attempts the next worker takes over."""
    it.start_server()
    server = it.server
    assert server
    short = _worker(it, "--name", "golden-refused", "--visibility-timeout", "2")
    id = it.submit("--queue", "real", "--attempts-max", "1", *ENDED["long"])
    it.wait_for(id, "output")
    server.signal(signal.SIGSTOP)
    GO.touch()
    short.said("attempt_over", job=id)
    _kill(short)
    server.signal(signal.SIGCONT)
    assert it.run("monitor", id).returncode == 125  # lost
    GO.unlink()
    worker = _worker(
        it,
        *("--name", "golden-worker", "--slots", "16", "--visibility-timeout", "600"),
        *("--jobs-dir", SOURCES, "--allow-local-repositories", "--spool-bytes-max", "64KiB"),
    )
    worker.said("spool_refused", job=id)
    for arguments in DONE:
        it.run("monitor", it.submit("--queue", "real", *arguments))
    stopped = it.submit("--queue", "real", "--script", "echo begun; exec sleep 60")
    it.wait_for(stopped, "output")
    it.run("cancel", stopped, check=True)
    it.run("monitor", stopped)
    left = {}
    for prefix, scripts in (("ended", ENDED), ("running", RUNNING)):
        for name, arguments in scripts.items():
            left[f"{prefix} {name}"] = JobId(it.submit("--queue", "real", *arguments))
    for id in left.values():
        it.wait_for(id, "output")
    for name in ("ended cancelled", "running cancelled"):
        it.run("cancel", left[name], check=True)
        worker.said("cancel_requested", job=left[name])
    asyncio.run(_interrupt(it, history))
    GO.touch()
    for name, id in left.items():
        if name.startswith("ended"):
            worker.said("attempt_over", job=id)
    _kill(worker)
    for alive in (FOLDER / WORK).glob("spools-*/alive"):
        _await_end(alive)
    return left


async def _interrupt(it: Site, history: History) -> None:
    """Kill the server during an upload, and add files that no fact names."""
    job = next(job for job in history.engine.table.running() if job.artifacts)
    data = b"on its way\n" * ARTIFACT_CHUNK_BYTES
    artifact = Artifact(path="on its way", size=len(data), sha256=sha256(data).hexdigest())
    head = pb.ArtifactHead(task_token=history.tokens[job.id], artifact=encode_artifact(artifact))
    async with dial(destination(it)) as channel:
        call = JobArtifactsServiceStub(channel).UploadArtifact()
        await call.write(pb.UploadArtifactRequest(head=head))
        await call.write(pb.UploadArtifactRequest(data=data[:ARTIFACT_CHUNK_BYTES]))
        partial = FOLDER / ARTIFACTS / "partial"
        await until(lambda: [each for each in partial.iterdir() if each.stat().st_size])
        assert it.server
        await asyncio.to_thread(_kill, it.server)
        call.cancel()
    _put(job.id, job.attempt, b"kept, and the server was killed before its log said so")
    _put(job.id, job.attempt + 7, b"of an attempt that there never was")
    _put(STRAY, 1, b"of a job that there never was")


def _await_end(alive: Path) -> None:
    """Return when no process of a dead worker is left."""
    pipe = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    while True:
        try:
            if not os.read(pipe, 1):
                break
        except BlockingIOError:
            select.select([pipe], [], [])
    os.close(pipe)


async def _crash() -> None:
    """Part 3: append facts of retention, and die before their work is done."""
    log = SqliteLog.open(FOLDER / LOG)
    engine = Engine(ON_DISK)
    await replay(log, engine)
    jobs = list(engine.table.jobs())
    plainly = [job.id for job in jobs if job.spec.queue == "crowd" and job.output_bytes > 50]
    shelved = [job.id for job in jobs if job.spec.queue == "makes"]
    facts = (OutputDropped(plainly[0]), Forgotten(plainly[1]), ArtifactsDropped(shelved[0]))
    events = engine.record((*facts, OutputDropped(plainly[2])), Instant(engine.now + 1))
    await log.trimmed()
    log._closing = True  # starts no more housekeeping
    await log.append(events)
    os.kill(os.getpid(), signal.SIGKILL)


def _pack() -> None:
    """Part 4: pack the folder."""
    names = [each.name for each in FOLDER.iterdir() if each.name.startswith(LOG)]
    pack("server", FOLDER, *names)
    pack("spools", FOLDER, WORK)
    pack("results", FOLDER, SOURCES, "results")


async def _asked(it: GoldenSite, end: int) -> dict[str, Json]:
    """Answers of a server about many jobs: list, queues, and the stream of all jobs."""
    async with JobsClient(destination(it)) as jobs:
        every = [job async for job in pages(jobs, Listing())]
        lines = {
            queue: [job.id async for job in _line(jobs, queue)]
            for queue in sorted({job.spec.queue for job in every})
        }
        follow = [
            {"log": "file", "after": after, "told": await followed(jobs, after, end, "file")}
            for after in (0, end // 2, end - 100)
        ]
    return {"list": [job.id for job in every], "lines": lines, "follow": follow}


def _line(jobs: JobsClient, queue: str) -> AsyncIterator[Job]:
    return pages(jobs, Listing(queue=queue, state=JobState.SCHEDULED))


def _expect(history: History, left: dict[str, JobId]) -> None:
    """Record the expected values."""
    scratch = FOLDER / "scratch"
    it = GoldenSite(scratch / "known")
    kinds = Counter(record[1] for record in chain(*records(scratch / "records")))
    known = {"kinds": kinds, **asyncio.run(replayed(it.folder / LOG))}
    held = [job.id for job in history.engine.table.running()]
    it = GoldenSite(scratch / "served")
    try:
        it.start_server()
        known |= asyncio.run(_asked(it, known["place"]))
        heir = it.take_over()
        waiting = [id for queue in QUEUES for id in known["lines"].get(queue, ())]
        known["over"] = asyncio.run(ends(it, [*left.values(), *waiting]))
        known["spools"] = {
            name: {"job": id, "lost": heir.said("spool_delivered", job=id)["lost"]}
            for name, id in left.items()
        }
    finally:
        it.close()
    known["tokens"] = {id: history.tokens[id] for id in held}
    known["ended_tokens"] = {
        id: token
        for id, token in history.tokens.items()
        if id in known["jobs"] and known["jobs"][id]["job"]["spec"]["queue"] == "ends"
    }
    EXPECTED.write_bytes(compress(encode(known), preset=9))


def main() -> None:
    """Make the golden data."""
    if EXPECTED.exists():
        raise SystemExit("the golden data are there, and are never made again")
    if sys.argv[1:] == ["crash"]:
        asyncio.run(_crash())
    os.umask(0o077)
    history = History()
    tell(history)
    it = Site(FOLDER)
    try:
        asyncio.run(_write(history))
        _sources(it)
        left = _run(it, history)
        (FOLDER / "job.yaml").write_text("source: build\n")
        it.run("run", "job.yaml", "--jobs-dir", SOURCES, "--workspaces-dir", "spare", check=True)
    finally:
        it.close()
    crash = subprocess.run([sys.executable, "-m", "tests.golden.make", "crash"], check=False)
    assert crash.returncode == -signal.SIGKILL
    _pack()
    _expect(history, left)
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
