"""git, as the worker runs it: through the launcher, so that its whole tree dies with the attempt.

A clone without a commit is one `git clone`. For a commit, an empty repository fetches just
that commit at the depth asked for; a server that gives no single commits, or a commit id that
is abbreviated, costs a fetch of all branches and tags.

A path on this machine is cloned as a remote is (`--no-local`): the depth holds, and the checkout
shares no files with its origin which a job might change. Submodules come with all of
their history: the commit that a repository wants of them is seldom the tip of a branch, and
not every server gives others.
"""

from collections.abc import Mapping
from typing import Final

from airunner.reports import Stream
from airunner.spec import Checkout, JobSpec, ProcessType, Submodules, TerminalSize
from airunner.worker.process import Command, Launcher, LaunchError

STDERR_BYTES_MAX: Final = 16 * 1024  # the last that git said, which is kept
STDOUT_BYTES_MAX: Final = 1024  # of what git answers; a commit id is asked for, no more

_FULL_IDS: Final = (40, 64)  # hexadecimal digits of SHA-1 and SHA-256


class GitFailed(Exception):
    """git has failed; `stderr` is what it said."""

    def __init__(self, what: str, stderr: str) -> None:
        super().__init__(what)
        self.stderr = stderr


class Git:
    """Clones one repository into one empty folder."""

    def __init__(self, launcher: Launcher, environment: Mapping[str, str], folder: str) -> None:
        self._launcher = launcher
        self._environment = environment
        self._folder = folder

    async def clone(self, spec: JobSpec) -> str:
        """Check the job's repository out; the full id of the commit. Raises GitFailed."""
        assert spec.checkout
        if spec.commit:
            await self._fetch_commit(spec, spec.checkout)
        else:
            await self._clone(spec, spec.checkout)
        match spec.checkout.submodules:
            case Submodules.NONE:
                pass
            case Submodules.TOP:
                await self._run("submodule", "--quiet", "update", "--init")
            case Submodules.RECURSIVE:
                await self._run("submodule", "--quiet", "update", "--init", "--recursive")
        return await self._commit_of("HEAD", "the repository has no commit yet")

    async def _clone(self, spec: JobSpec, checkout: Checkout) -> None:
        options = ["--quiet", "--no-local"]
        if checkout.depth:
            options.append(f"--depth={checkout.depth}")
        options.append("--single-branch" if checkout.single_branch else "--no-single-branch")
        if spec.branch:
            options.append(f"--branch={spec.branch}")
        await self._run("clone", *options, "--", spec.repository, ".")

    async def _fetch_commit(self, spec: JobSpec, checkout: Checkout) -> None:
        commit = spec.commit.lower()
        form = "sha256" if len(commit) == max(_FULL_IDS) else "sha1"
        await self._run("init", "--quiet", f"--object-format={form}")
        await self._run("remote", "add", "--", "origin", spec.repository)
        found = len(commit) in _FULL_IDS and await self._fetched(commit, checkout.depth)
        if not found:
            every = "+refs/heads/*:refs/remotes/origin/*"
            await self._run("fetch", "--quiet", "--tags", "--", "origin", every)
        full = await self._commit_of(commit, f"the repository has no commit {commit}")
        if not full.startswith(commit):  # a tag can be called like an abbreviated id
            raise GitFailed(f"no commit {commit}", f"{commit} names something other than a commit")
        await self._run("checkout", "--quiet", "--detach", full, "--")

    async def _fetched(self, commit: str, depth: int) -> bool:
        options = [f"--depth={depth}"] if depth else []
        try:
            await self._run("fetch", "--quiet", "--no-tags", *options, "--", "origin", commit)
        except GitFailed:
            return False
        return True

    async def _commit_of(self, name: str, otherwise: str) -> str:
        """The full id of a commit; if there is none, GitFailed says what is wrong `otherwise`."""
        words = ("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
        try:
            return (await self._run(*words)).strip()
        except GitFailed as failure:  # git says "Needed a single revision", which helps nobody
            raise GitFailed(otherwise, failure.stderr) from None

    async def _run(self, *arguments: str) -> str:
        """Run git to its end; what it wrote to standard output."""
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
        kept = {Stream.STDOUT: b"", Stream.STDERR: b""}
        try:
            while read := await process.read():
                stream, data = read
                most = STDOUT_BYTES_MAX if stream is Stream.STDOUT else STDERR_BYTES_MAX
                kept[stream] = (kept[stream] + data)[-most:]
            end = await process.wait()
        finally:
            await process.close()
        if end.code:
            stderr = kept[Stream.STDERR].decode(errors="replace").strip()
            raise GitFailed(f"git {arguments[0]} ended with {end.code}", stderr)
        return kept[Stream.STDOUT].decode(errors="replace")
