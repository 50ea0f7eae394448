"""Processes without airunner: started, read to their end and waited for, one after the other."""

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
    """Run a program, read what it writes to its end, and wait; how many bytes that were.

    It has a pipe for stdout and another for stderr, on which it writes little; or a session with a
    terminal of its own.
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
    """Leaves out control groups, workspaces and everybody who would be told."""
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
        setsid=True,  # so that the terminal that it opens first is its own
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.ttyname(theirs), os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ],
    )
    os.close(theirs)
    try:
        size = _drain(ours)
        _reap(pid)  # first, or its terminal might hang up on it while it still ends
        return size
    finally:
        os.close(ours)


def _drain(file: int) -> int:
    """Read until nobody can write any more; how many bytes there were."""
    size = 0
    try:
        while piece := os.read(file, _READ_BYTES):
            size += len(piece)
    except OSError as error:
        if error.errno != errno.EIO:  # as a terminal says that nobody has it open any more
            raise
    return size


def _reap(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"it ended with status {status}"
