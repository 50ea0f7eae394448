"""Random jobs, valid and invalid, side by side through a real worker: each hears its own words."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import pytest

from airunner.model.job_events import JobFinished
from airunner.model.jobs import Reason
from airunner.model.reports import Output, ProcessStarted
from airunner.model.spec import JobSpec, ProcessType
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.follow import follow
from airunner.wire.client.jobs_client import JobsClient
from tests.hostile.dose import DOSE
from tests.promises import holds
from tests.support.installation import site
from tests.zoo import SECONDS_MAX, shell

JOBS: Final = 200 * DOSE
AT_ONCE: Final = 12
SECONDS_FOR_ALL: Final = SECONDS_MAX * (1 + DOSE)

Expected = tuple[JobSpec, Reason, int | None, bytes]  # the exit code, and the end of the output
Kind = Callable[[str, Random], Expected]


def command(*argv: str, **fields: object) -> JobSpec:
    spec = {"command": argv[0], "args": argv[1:], "grace_seconds": 1, **fields}
    return JobSpec(**spec)  # type: ignore[arg-type]  # a test's


def right(tag: str, dice: Random) -> Expected:
    code = dice.randrange(120)
    spec = command(*shell(f"echo {tag}; exit {code}"))
    return spec, Reason.EXITED, code, f"{tag}\n".encode()


def script(tag: str, dice: Random) -> Expected:
    code = dice.randrange(1, 120)
    text = f"setsid sleep 1000 & echo {tag}; exit {code}"
    return JobSpec(script=text), Reason.EXITED, code, f"{tag}\n".encode()


def terminal(tag: str, _: Random) -> Expected:
    spec = command("echo", tag, process_type=ProcessType.PTY)
    return spec, Reason.EXITED, 0, f"{tag}\r\n".encode()


def killed(tag: str, dice: Random) -> Expected:
    number = dice.choice((9, 10, 15))
    spec = command(*shell(f"echo {tag}; kill -{number} $$; sleep 1000"))
    return spec, Reason.SIGNALED, 128 + number, f"{tag}\n".encode()


def missing(tag: str, dice: Random) -> Expected:
    return (
        command(f"{dice.choice(('', '/', './', '/etc/passwd/'))}no-{tag}"),
        Reason.NOT_FOUND,
        127,
        b"",
    )


def no_program(_: str, dice: Random) -> Expected:
    path = dice.choice(("/etc/passwd", "/", "/" + 256 * "a", "/proc/self/mem"))
    return command(path), Reason.NOT_EXECUTABLE, 126, b""


def no_folder(tag: str, dice: Random) -> Expected:
    folder = dice.choice((f"no-{tag}", 256 * "a", "a/" * 400 + "b"))
    return command("true", working_directory=folder), Reason.SETUP_FAILED, None, b""


def cancelled(tag: str, _: Random) -> Expected:
    spec = command(
        *shell(f"exec 2>/dev/null; echo {tag}; setsid sleep 1000 & while :; do sleep 1; done")
    )
    return spec, Reason.CANCELLED, 143, f"{tag}\n".encode()


def late(tag: str, _: Random) -> Expected:
    spec = command(
        *shell(f"exec 2>/dev/null; echo {tag}; while :; do sleep 1; done"), timeout_seconds=1
    )
    return spec, Reason.TIMEOUT, 143, f"{tag}\n".encode()


def shim_killed(_: str, dice: Random) -> Expected:
    spec = command(*shell(f"kill -{dice.choice((9, 'SEGV'))} $PPID; sleep 1000"), attempts_max=1)
    return spec, Reason.LOST, None, b""


KINDS: Final[dict[Kind, int]] = {
    right: 8,
    script: 4,
    terminal: 2,
    killed: 2,
    missing: 6,
    no_program: 4,
    no_folder: 4,
    cancelled: 2,
    late: 1,
    shim_killed: 1,
}


@holds("processes/each-hears-its-own-words", "processes/hostile-job-harms-no-other")
@pytest.mark.parametrize("slots", [8])
def test_random_jobs_side_by_side_end_each_as_their_own_command_does(
    slots: int, tmp_path: Path
) -> None:
    numbers = iter(range(JOBS))

    async def run_one(jobs: JobsClient, number: int) -> None:
        dice = Random(number)  # of its own: whichever job ends first, a number has the same job
        kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
        spec, reason, code, output = kind(f"job-{number}", dice)
        id = (await jobs.enqueue(spec)).id
        heard, outcome = b"", None
        async for event in follow(jobs, id):
            body = event.body
            if isinstance(body, Output):
                heard += b"".join(chunk.data for chunk in body.chunks)
            if kind is cancelled and isinstance(body, Output | ProcessStarted) and heard:
                await jobs.cancel(id)
            if isinstance(body, JobFinished):
                outcome = body.outcome
        assert outcome is not None
        assert (outcome.reason, outcome.exit_code, heard) == (reason, code, output), (
            number,
            kind,
            heard,
            outcome,
        )
        assert len(outcome.error) < 4096

    async def run_all(server: str, ca_cert: Path) -> None:
        async def run_some(jobs: JobsClient) -> None:
            for number in numbers:
                await run_one(jobs, number)

        async with (
            asyncio.timeout(SECONDS_FOR_ALL),
            JobsClient(Endpoint(server=server, ca_cert=ca_cert)) as jobs,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(AT_ONCE):
                tasks.create_task(run_some(jobs))

    with site(tmp_path / "site") as it:
        worker = it.start_worker("--slots", str(slots), "--drain-timeout", "1")
        asyncio.run(run_all(it.address, it.certs / "ca.pem"))
        assert worker.stop() == 0
        assert [line for line in worker.journal if "attempt_crashed" in line] == []
