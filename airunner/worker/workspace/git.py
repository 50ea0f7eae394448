"""The worker's git client, which runs git through the launcher.

So git's whole process tree ends with the attempt.

A clone without a commit is one `git clone`. For a commit, an empty repository fetches just
that commit at the requested depth, by its id or by the name of a ref. If the server does not serve
single commits, the commit id is abbreviated, or the name is a revision such as `main~2`, the client
fetches all branches and tags instead.

A path on this machine is cloned like a remote repository (`--no-local`): the depth applies, and
the checkout shares no files with its origin, which a job might change. Submodules are cloned with
their whole history: the commit that a repository pins is seldom the tip of a branch of the
submodule, and not every server serves other commits.

git's progress lines are reported, at most one a second, so that a reader sees that a slow clone is
alive. The other lines of its standard error are kept for the message of a failure.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from airunner.model.reports import Stream
from airunner.model.repositories import is_commit_id
from airunner.model.spec import Checkout, JobSpec, ProcessType, Submodules, TerminalSize
from airunner.worker.process import Command, Launcher, LaunchError

STDERR_BYTES_MAX: Final = 16 * 1024  # last part of git's standard error, for an error message
STDOUT_BYTES_MAX: Final = 1024  # git's standard output, which is a commit id and no more

PROGRESS_SECONDS: Final = 1.0  # between two reported progress lines, and before the first

_FULL_IDS: Final = (40, 64)  # hexadecimal digits of SHA-1 and SHA-256

_PROGRESS: Final = re.compile(r"(remote: )?[A-Z][a-z ]+: +\d+(% |, done|$)")
_NOISE: Final = ("Cloning into ", "From ", "Submodule ")


class GitFailed(Exception):
    """A git command failed; `stderr` is the kept end of its standard error."""

    def __init__(self, message: str, stderr: str) -> None:
        super().__init__(message)
        self.stderr = stderr


class Git:
    """Clones one repository into one empty folder."""

    def __init__(
        self,
        launcher: Launcher,
        environment: Mapping[str, str],
        folder: str,
        progress: Callable[[str], Awaitable[None]],
    ) -> None:
        self._launcher = launcher
        self._progress = progress
        self._environment = environment
        self._folder = folder

    async def clone(self, spec: JobSpec) -> str:
        """Clones and checks out the job's repository; returns the commit's full id.

        Raises GitFailed.
        """
        assert spec.checkout
        if spec.commit:
            await self._fetch_commit(spec, spec.checkout)
        else:
            await self._clone(spec, spec.checkout)
        match spec.checkout.submodules:
            case Submodules.NONE:
                pass
            case Submodules.TOP:
                await self._run("submodule", "update", "--init", "--progress")
            case Submodules.RECURSIVE:
                await self._run("submodule", "update", "--init", "--progress", "--recursive")
        return await self._commit_of("HEAD", "the repository has no commit yet")

    async def _clone(self, spec: JobSpec, checkout: Checkout) -> None:
        options = ["--progress", "--no-local"]
        if checkout.depth:
            options.append(f"--depth={checkout.depth}")
        options.append("--single-branch" if checkout.single_branch else "--no-single-branch")
        if spec.branch:
            options.append(f"--branch={spec.branch}")
        await self._run("clone", *options, "--", spec.repository, ".")

    async def _fetch_commit(self, spec: JobSpec, checkout: Checkout) -> None:
        if not is_commit_id(spec.commit):
            await self._fetch_revision(spec, checkout)
            return
        commit = spec.commit.lower()
        form = "sha256" if len(commit) == max(_FULL_IDS) else "sha1"
        await self._run("init", "--quiet", f"--object-format={form}")
        await self._run("remote", "add", "--", "origin", spec.repository)
        found = len(commit) in _FULL_IDS and await self._fetched(commit, checkout.depth)
        if not found:
            every = "+refs/heads/*:refs/remotes/origin/*"
            await self._run("fetch", "--progress", "--tags", "--", "origin", every)
        full = await self._commit_of(commit, f"the repository has no commit {commit}")
        if not full.startswith(commit):  # a tag can be called like an abbreviated id
            raise GitFailed(f"no commit {commit}", f"{commit} names something other than a commit")
        await self._run("checkout", "--quiet", "--detach", full, "--")

    async def _fetch_revision(self, spec: JobSpec, checkout: Checkout) -> None:
        """Fetches and checks out a commit by the name of a branch, a tag, a ref or a revision."""
        await self._run("init", "--quiet")
        await self._run("remote", "add", "--", "origin", spec.repository)
        names = ["FETCH_HEAD"]
        if not await self._fetched(spec.commit, checkout.depth):
            every = "+refs/heads/*:refs/remotes/origin/*"
            await self._run("fetch", "--progress", "--tags", "--", "origin", every)
            with suppress(GitFailed):  # the repository may have no HEAD
                await self._run("remote", "set-head", "origin", "--auto")
            names = [f"origin/{spec.commit}", spec.commit]
        full = await self._first_commit_of(names, f"the repository has no commit {spec.commit}")
        await self._run("checkout", "--quiet", "--detach", full, "--")

    async def _first_commit_of(self, names: Sequence[str], message: str) -> str:
        """Returns the full id of the first of the names that is a commit. Raises GitFailed."""
        for name in names[:-1]:
            with suppress(GitFailed):
                return await self._commit_of(name, message)
        return await self._commit_of(names[-1], message)

    async def _fetched(self, commit: str, depth: int) -> bool:
        options = [f"--depth={depth}"] if depth else []
        try:
            await self._run("fetch", "--progress", "--no-tags", *options, "--", "origin", commit)
        except GitFailed:
            return False
        return True

    async def _commit_of(self, name: str, message: str) -> str:
        """Returns the full id of the commit `name`. Raises GitFailed with `message` without one."""
        arguments = ("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
        try:
            return (await self._run(*arguments)).strip()
        except GitFailed as failure:  # git's own message is "Needed a single revision"
            raise GitFailed(message, failure.stderr) from None

    async def _run(self, *arguments: str) -> str:
        """Runs git to its end and returns its standard output. Raises GitFailed."""
        command = Command(
            argv=("git", "-c", "advice.detachedHead=false", *arguments),
            environment=self._environment,
            directory=self._folder,
            process_type=ProcessType.PIPE,
            terminal=TerminalSize(),
        )
        try:
            process = await self._launcher.launch(command)
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
        return stdout.decode(errors="replace")


class _Stderr:
    """A filter of git's standard error: progress lines pass at a limited rate, others are kept."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._progress_at = self._loop.time()  # the time of the last progress line that passed
        self._kept = ""
        self._rest = b""  # the beginning of a line

    def feed(self, data: bytes) -> str | None:
        """Adds bytes, and returns the latest progress line if PROGRESS_SECONDS have passed."""
        *lines, rest = re.split(rb"[\r\n]", self._rest + data)
        self._rest = rest[-STDERR_BYTES_MAX:]
        latest = None
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if _PROGRESS.match(text):
                latest = text
            else:
                self._keep(text)
        if latest is None or self._loop.time() < self._progress_at + PROGRESS_SECONDS:
            return None
        self._progress_at = self._loop.time()
        return latest

    def _keep(self, text: str) -> None:
        if text and not text.startswith(_NOISE):
            self._kept = f"{self._kept}{text}\n"[-STDERR_BYTES_MAX:]

    @property
    def text(self) -> str:
        """The kept lines."""
        self._keep(self._rest.decode(errors="replace").rstrip())
        self._rest = b""
        return self._kept.strip()
