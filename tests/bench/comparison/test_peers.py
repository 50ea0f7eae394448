"""The comparison with other queues, on a machine without them: its output and its processes."""

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from airunner.bench.comparison import lifeline
from airunner.bench.comparison.airunner_roles import SerializedChannel
from airunner.bench.comparison.brokers import NO_REDIS, postgres_program, redis
from airunner.bench.comparison.cpu import busy_seconds
from airunner.bench.comparison.marks import Marks
from airunner.bench.comparison.processes import Missing, managed_process
from airunner.bench.comparison.queues import NAMES, QUEUES
from airunner.model.protocol.worker_protocol import Credit, FromServer, FromWorker, Heartbeat
from tests.cli.conftest import PATIENCE
from tests.support.channel import End, Pipe
from tests.test_house import breaches, imports, modules, within

ROOT = Path(__file__).parents[3]
COMPARISON = ROOT / "airunner/bench/comparison"
LOCK = (COMPARISON / "requirements.lock").read_text(encoding="utf-8")


def measured(*words: str) -> "subprocess.CompletedProcess[str]":
    """Runs the comparison with a Python that has no other queue."""
    return subprocess.run(
        [sys.executable, "-m", "airunner.bench.comparison", "--python", sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )


def test_a_queue_that_is_not_there_is_named_with_the_reason_and_airunner_is_measured() -> None:
    done = measured("--duration", "0.05", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    first, *figures = (json.loads(line) for line in done.stdout.splitlines())
    assert set(first["missing"]) == {queue.name for queue in QUEUES}
    assert all("make bench-peers installs it" in reason for reason in first["missing"].values())
    assert {figure["scenario"] for figure in figures} >= {"whole no-op jobs", "/bin/true jobs"}
    assert {"airunner, memory", "airunner, SQLite, fsync full"} <= {
        figure["name"] for figure in figures
    }


def test_a_queue_that_nobody_knows_is_refused() -> None:
    done = measured("--peer", "tape")
    assert done.returncode == 2
    assert "'tape' is not one of celery, dramatiq, huey, procrastinate, rq" in done.stderr


def test_a_broker_that_is_not_there_is_named_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def start() -> None:
        async with redis(tmp_path / "redis"):
            pass

    with pytest.raises(Missing, match=re.escape(NO_REDIS)):
        asyncio.run(start())
    with pytest.raises(Missing, match="install PostgreSQL"):
        postgres_program("postgres-of-nobody")


@pytest.mark.parametrize("package", NAMES)
def test_every_queue_is_locked_at_a_version_with_a_hash(package: str) -> None:
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    (entry,) = (each for each in entries if re.match(rf"{package}==\d", each))
    assert "--hash=sha256:" in entry


def test_what_runs_with_the_other_queues_imports_nothing_of_airunners() -> None:
    wrong = [
        path.name
        for path in modules(COMPARISON / "peers")
        for _, name in imports(path)
        if within(name, "airunner") and not within(name, "airunner.bench.comparison.peers")
    ]
    assert not wrong


def test_the_installed_package_does_not_import_the_comparison() -> None:
    installed = (path for path in modules() if COMPARISON not in path.parents)
    assert not breaches(imports, lambda name: within(name, "airunner.bench.comparison"), installed)


def test_a_wheel_has_the_bench_and_not_the_comparison(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "airunner/bench/suite.py" in names
    assert not [name for name in names if "comparison/" in name]


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Marks]:
    made = Marks(tmp_path / "marks")
    yield made
    made.close()


def leave(marks: Marks, text: bytes) -> None:
    pipe = os.open(marks.path, os.O_WRONLY)
    os.write(pipe, text)
    os.close(pipe)


def test_marks_are_times_in_their_order(marks: Marks) -> None:
    leave(marks, b"3.5\n1.25\n")
    assert asyncio.run(marks.read(2)) == [1.25, 3.5]


def test_a_mark_that_comes_in_two_pieces_is_one(marks: Marks) -> None:
    leave(marks, b"1.5\n2.")

    async def read() -> list[float]:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(marks.read(2))
            await asyncio.sleep(0)
            leave(marks, b"5\n")
        return reading.result()

    assert asyncio.run(read()) == [1.5, 2.5]


def test_a_job_that_ran_twice_is_noticed(marks: Marks) -> None:
    leave(marks, b"1\n1\n")
    with pytest.raises(AssertionError, match="2 jobs ran where 1 were to"):
        asyncio.run(marks.read(1))


def test_who_waits_for_marks_hears_that_nobody_can_leave_any(marks: Marks) -> None:
    def dead() -> None:
        raise Missing("its worker has ended")

    with pytest.raises(Missing, match="its worker has ended"):
        asyncio.run(marks.read(1, dead))


TWO_PROCESSES: Final = "sh -c 'kill -STOP $$' & exec sleep 600"


def test_a_leash_ends_a_program_and_its_children_though_they_are_stopped(tmp_path: Path) -> None:
    async def run() -> list[int]:
        async with managed_process("program", ("sh", "-c", TWO_PROCESSES), tmp_path) as program:
            program.pause()
            left = list(lifeline.session(program.pid))
            assert left
            return [program.pid, *left]

    leader, *_ = asyncio.run(run())
    assert not list(lifeline.session(leader))


WORK: Final = """
import os, time
while time.process_time() < 0.2: pass
if os.fork(): os.wait(); input()
else:
    while time.process_time() < 0.2: pass
"""


def test_the_processor_time_of_what_was_started_counts_and_ours_does_not() -> None:
    before = busy_seconds()
    with subprocess.Popen([sys.executable, "-c", WORK], stdin=subprocess.PIPE) as program:
        while (
            busy_seconds() - before < 0.35
        ):  # the time of the program and of its child, which the program waits for
            assert program.poll() is None
        assert program.stdin
        program.stdin.write(b"\n")


def test_a_leash_ends_its_program_when_who_holds_it_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "airunner.bench.comparison.lifeline", "KILL", "sleep", "600"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as wrapper:
        assert wrapper.stdin
        assert wrapper.stdout
        program = os.pidfd_open(int(wrapper.stdout.readline()))
        wrapper.stdin.close()  # as the kernel does for a killed process
        try:
            ended, _, _ = select.select([program], [], [], PATIENCE)
            assert ended
        finally:
            os.close(program)


def test_what_a_program_said_last_is_known(tmp_path: Path) -> None:
    async def run() -> str:
        script = "echo one; echo two >&2"
        async with managed_process("program", ("sh", "-c", script), tmp_path) as program:
            await program.wrapper.wait()
            assert program.ended
            return program.last_line()

    assert asyncio.run(run()) == "two"


def test_a_run_that_is_stopped_leaves_no_file(tmp_path: Path) -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "airunner.bench.comparison",
            "--python",
            sys.executable,
            "--duration",
            "600",
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stderr
        assert "not measured" in run.stderr.readline()  # all loads have started
        run.terminate()
        assert run.wait(PATIENCE) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


class Halting(End[FromWorker, FromServer]):
    """A worker's end of a channel that yields to other tasks before each message."""

    async def send_all(self, messages: Iterable[FromWorker]) -> None:
        for message in messages:
            await asyncio.sleep(0)
            await self.send(message)


def test_a_heartbeat_does_not_go_out_in_the_midst_of_what_a_session_says() -> None:
    """Two concurrent writes break a gRPC stream."""

    async def run() -> list[FromWorker]:
        sent = Pipe[FromWorker](room=10)
        channel = SerializedChannel(Halting(sent, Pipe(room=10)))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(channel.send_all([Credit(1), Credit(2), Credit(3)]))
            tasks.create_task(channel.send(Heartbeat(())))
        return list(sent.messages)

    assert asyncio.run(run()) == [Credit(1), Credit(2), Credit(3), Heartbeat(())]
