"""The baseline of process starts without airunner: spawn, read the output to its end, wait."""

import asyncio
import errno
import os
from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.report.figures import Sample, rate
from airunner.bench.report.rounds import Contender
from airunner.bench.setting import Setting

TRUE: Final = ("/bin/true",)
SPAWN: Final = "bare spawn of /bin/true, two pipes"
TERMINAL_SPAWN: Final = "bare spawn of /bin/true, a terminal"
_READ_BYTES: Final = 64 * 1024


def spawn(setting: Setting) -> Contender:
    return _contender(SPAWN, setting, terminal=False)


def terminal_spawn(setting: Setting) -> Contender:
    return _contender(TERMINAL_SPAWN, setting, terminal=True)


def read_all(
    arguments: Sequence[str], environment: Mapping[str, str], *, terminal: bool = False
) -> int:
    """Runs a program, reads its output to the end and waits for it; returns the output's bytes.

    The program has a pipe for stdout and a pipe for stderr, or, if `terminal`, a session with a
    terminal of its own. It must write little to stderr: stderr is read after stdout.
    """
    return (
        _read_terminal(arguments, environment) if terminal else _read_pipes(arguments, environment)
    )


def _contender(name: str, setting: Setting, *, terminal: bool) -> Contender:
    run = partial(_spawns, setting.environment, terminal)
    return Contender(name=name, unit="processes/s", run=run, baseline=True)


async def _spawns(environment: Mapping[str, str], terminal: bool, seconds: float) -> Sample:
    return await asyncio.to_thread(_spawn, environment, terminal, seconds)


def _spawn(environment: Mapping[str, str], terminal: bool, seconds: float) -> Sample:
    """Spawns processes in turn. Leaves out control groups, workspaces and reports to a server."""
    count, start = 0, perf_counter()
    while perf_counter() < start + seconds:
        read_all(TRUE, environment, terminal=terminal)
        count += 1
    return rate(count, perf_counter() - start)


def _read_pipes(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    (out, its_out), (err, its_err) = os.pipe(), os.pipe()
    pid = os.posix_spawnp(
        arguments[0],
        tuple(arguments),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, its_out, 1),
            (os.POSIX_SPAWN_DUP2, its_err, 2),
        ],
    )
    os.close(its_out)
    os.close(its_err)
    try:
        size = _drain(out) + _drain(err)
        _reap(pid)
        return size
    finally:
        os.close(out)
        os.close(err)


def _read_terminal(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    ours, theirs = os.openpty()
    pid = os.posix_spawnp(
        arguments[0],
        tuple(arguments),
        environment,
        setsid=True,  # the terminal that it opens first becomes its controlling terminal
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.ttyname(theirs), os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ],
    )
    os.close(theirs)
    try:
        size = _drain(ours)
        _reap(pid)  # before close(): a closed terminal hangs up on a process that still runs
        return size
    finally:
        os.close(ours)


def _drain(file: int) -> int:
    """Reads until every writer has closed the file; returns the number of bytes."""
    size = 0
    try:
        while piece := os.read(file, _READ_BYTES):
            size += len(piece)
    except OSError as error:
        if error.errno != errno.EIO:  # a terminal that no process has open any more
            raise
    return size


def _reap(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the process ended with status {status}"
