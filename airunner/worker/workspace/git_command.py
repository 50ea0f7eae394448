"""The worker's git commands, which run through the launcher, and the text of their failures.

git's progress lines are reported, at most one a second, so that a reader sees that a slow clone is
alive. The other lines of its standard error are kept for the message of a failure: the lines with
`fatal:` first, because banners and hints of a server would hide them, then the last of the others.

Passwords and tokens in the lines are hidden: git names addresses that the worker's own
configuration may have changed. They are hidden before a line is escaped or cut, since a part of a
token looks like no token. A line that is too long ends at a space, since no token has a space.

A clone runs nothing of the repository. git's own rules refuse commands in .gitmodules, names such
as .git/hooks in a tree, and files behind links. The settings below cover configurations of a
worker's user that would run a file of the checkout: a relative core.hooksPath (.githooks), a relative
core.fsmonitor, or submodules that no job has asked for. A filter of that configuration still runs,
such as Git LFS (lfs.py): its commands are the operator's, and must not be relative paths. Prompts are off in
the environment (git_environment.py), and standard input is empty.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from airunner.model.reports import Stream
from airunner.model.repositories import redacted
from airunner.model.spec import ProcessType, TerminalSize
from airunner.system.printable_text import printable
from airunner.worker.process import (
    Command,
    Deadline,
    Launcher,
    LaunchError,
    LaunchLost,
    ProcessLost,
    SupervisorLost,
)

STDERR_BYTES_MAX: Final = 16 * 1024  # git's standard error in an error message; also one line
FATAL_BYTES_MAX: Final = 2 * 1024  # git's `fatal:` lines, which begin an error message
STDOUT_BYTES_MAX: Final = 64 * 1024  # last part of git's standard output: an id, or names

PROGRESS_SECONDS: Final = 1.0  # between two reported progress lines, and before the first

_SETTINGS: Final = (
    "advice.detachedHead=false",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "clone.defaultRemoteName=origin",
    "gc.auto=0",
    "maintenance.auto=false",
)
_FILTER_IGNORED: Final = "warning: filtering not recognized by server, ignoring"

_PROGRESS: Final = re.compile(rb"(remote: )?[A-Z][a-z ]+: +\d+(% |, done|$)")
_NOISE: Final = (b"Cloning into ", b"From ", b"Submodule ")
_FATAL: Final = re.compile(rb"(remote: )?fatal: ")
_LINE_ENDS: Final = re.compile(rb"[\r\n]")
_ESCAPE_SEQUENCE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # a colour would hide a token


class GitFailed(Exception):
    """A git command failed; `stderr` is the kept part of its standard error."""

    def __init__(self, message: str, stderr: str) -> None:
        super().__init__(message)
        self.stderr = stderr


class GitCommands:
    """Runs git in one folder. git's whole process tree ends with the attempt."""

    def __init__(
        self,
        launcher: Launcher,
        environment: Mapping[str, str],
        folder: str,
        progress: Callable[[str], Awaitable[None]],
        *,
        deadline: Deadline,
        settings: Sequence[str] = (),
    ) -> None:
        """`deadline` is that of each command; `settings` are settings of git besides _SETTINGS."""
        self.filter_ignored = False  # by a server, in a command so far
        self._options = _options((*_SETTINGS, *settings))
        self._launcher = launcher
        self._progress = progress
        self._environment = environment
        self._folder = folder
        self._deadline = deadline

    async def run(self, *arguments: str) -> str:
        """Runs git to its end and returns the end of its standard output.

        Raises GitFailed, SupervisorLost, and ProcessLost if its shim or the supervisor died.
        """
        command = Command(
            argv=("git", *self._options, *arguments),
            environment=self._environment,
            directory=self._folder,
            process_type=ProcessType.PIPE,
            terminal=TerminalSize(),
            deadline=self._deadline,
        )
        try:
            process = await self._launcher.launch(command)
        except SupervisorLost:
            raise
        except LaunchLost as lost:
            raise ProcessLost(str(lost)) from None
        except LaunchError as error:
            raise GitFailed("git could not be started on this worker", str(error)) from None
        stdout, stderr = b"", _Stderr()
        try:
            while read := await process.read():
                stream, data = read
                if stream is Stream.STDOUT:
                    stdout = (stdout + data)[-STDOUT_BYTES_MAX:]
                elif line := stderr.feed(data):
                    await self._progress(line)
            end = await process.wait()
        finally:
            await process.close()
        if end.code:
            raise GitFailed(f"git {arguments[0]} ended with {end.code}", stderr.text)
        self.filter_ignored = self.filter_ignored or _FILTER_IGNORED in stderr.text
        return stdout.decode(errors="replace")


class _Stderr:
    """A filter of git's standard error: progress lines pass at a limited rate, others are kept."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._progress_at = self._loop.time()  # the time of the last progress line that passed
        self._fatal = b""
        self._others: deque[bytes] = deque()
        self._others_size = 0
        self._rest = b""  # the beginning of a line
        self._cut = False  # the line is too long, and the rest of it is dropped

    def feed(self, data: bytes) -> str | None:
        """Adds bytes, and returns the latest progress line if PROGRESS_SECONDS have passed."""
        *lines, rest = _LINE_ENDS.split(data)
        latest = None
        for part in lines:
            line = self._end_line(part)
            if _PROGRESS.match(line):
                latest = line
            else:
                self._keep(line)
        self._add(rest)
        if latest is None or self._loop.time() < self._progress_at + PROGRESS_SECONDS:
            return None
        self._progress_at = self._loop.time()
        return _shown(latest)

    def _add(self, part: bytes) -> None:
        if self._cut:
            return
        self._rest += part
        if len(self._rest) > STDERR_BYTES_MAX:
            self._cut = True
            self._rest = self._rest[: self._rest.rfind(b" ", 0, STDERR_BYTES_MAX) + 1]

    def _end_line(self, part: bytes) -> bytes:
        self._add(part)
        line, self._rest, self._cut = self._rest.rstrip(), b"", False
        return line

    def _keep(self, line: bytes) -> None:
        if not line or line.startswith(_NOISE):
            return
        if _FATAL.match(line) and len(self._fatal) < FATAL_BYTES_MAX:
            self._fatal += line + b"\n"
            return
        self._others.append(line)
        self._others_size += len(line)
        while self._others_size - len(self._others[0]) > STDERR_BYTES_MAX:
            self._others_size -= len(self._others.popleft())

    @property
    def text(self) -> str:
        """The kept lines, those with `fatal:` first."""
        self._keep(self._end_line(b""))
        fatal = "\n".join(map(_shown, self._fatal.splitlines())).encode()[:FATAL_BYTES_MAX]
        others = "\n".join(map(_shown, self._others)).encode()
        room = STDERR_BYTES_MAX - len(fatal) - 1
        shown = (each.decode(errors="ignore").strip() for each in (fatal, others[-room:]))
        return "\n".join(filter(None, shown))


def _options(settings: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("-c", setting))


def _shown(line: bytes) -> str:
    text = _ESCAPE_SEQUENCE.sub("", line.decode(errors="replace"))
    return printable(redacted(text))
