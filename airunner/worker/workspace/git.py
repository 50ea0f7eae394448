"""The checkout of a job's repository by git.

A clone of a branch or a tag is one `git clone`. For a commit, an empty repository fetches just
that commit at the requested depth, by its id or by the name of a ref. All branches and tags are
fetched instead if the server does not serve single commits, the id is abbreviated, the name is a
revision such as `main~2`, or the whole history is requested (depth 0). A branch with the full name
of a ref, such as refs/pull/7/head, is fetched by that name, since `git clone` takes only names of
branches and tags.

A path on this machine is cloned like a remote repository (`--no-local`): the depth applies, and
the checkout shares no files with its origin, which a job might change. Submodules are cloned with
their whole history: the commit that a repository pins is seldom the tip of a branch of the
submodule, and not every server serves other commits.

A filter makes a partial clone: git fetches a missing object when a command reads it. A server that
takes no filter sends all objects, with a warning that GitCommands notes. A server of files alone sends
all objects without a word. Submodules have no filter.

A sparse checkout is selected before anything is checked out, so a partial clone fetches no other file.
"""

from contextlib import suppress
from typing import Final

from airunner.model.repositories import are_folders, is_commit_id
from airunner.model.spec import Checkout, JobSpec, Submodules
from airunner.model.units import shortened
from airunner.system.printable_text import printable
from airunner.worker.workspace.git_command import GitCommands, GitFailed

_FULL_IDS: Final = (40, 64)  # hexadecimal digits of SHA-1 and SHA-256

_FULL_NAME: Final = "refs/"
_BRANCH: Final = "refs/heads/"
_ALL_BRANCHES: Final = "+refs/heads/*:refs/remotes/origin/*"
_BRANCHES_NAMED: Final = 20  # in an error message
_NO_BRANCH: Final = "not found in upstream"  # in git's error for --branch
_NO_REF: Final = "couldn't find remote ref"  # in git's error for a fetch
_NO_HEAD: Final = "HEAD of the repository names a branch that is not there"


class Git:
    """Clones one job's repository into one empty folder."""

    def __init__(self, commands: GitCommands, spec: JobSpec, checkout: Checkout) -> None:
        self._run = commands.run
        self._spec = spec
        self._checkout = checkout

    async def clone(self) -> str:
        """Clones and checks out the job's repository; returns the commit's full id.

        Raises GitFailed.
        """
        if self._spec.commit:
            await self._fetch_commit(self._spec.commit)
        elif self._spec.branch.startswith(_FULL_NAME):
            await self._fetch_ref(self._spec.branch)
        else:
            await self._clone()
        match self._checkout.submodules:
            case Submodules.NONE:
                pass
            case Submodules.TOP:
                await self._run("submodule", "update", "--init", "--progress")
            case Submodules.RECURSIVE:
                await self._run("submodule", "update", "--init", "--progress", "--recursive")
        return await self._commit_of("HEAD", "the repository has no commit yet")

    async def _clone(self) -> None:
        options = ["--progress", "--no-local", *self._depth(), *self._filter()]
        single = self._checkout.single_branch
        options.append("--single-branch" if single else "--no-single-branch")
        if self._checkout.sparse:
            options.append("--no-checkout")
        if branch := self._spec.branch:
            options.append(f"--branch={branch}")
        try:
            await self._run("clone", *options, "--", self._spec.repository, ".")
        except GitFailed as failure:
            if branch and _NO_BRANCH in failure.stderr:
                why = f"the repository has no branch and no tag {branch}"
                raise await self._no_branch(why, failure.stderr) from None
            raise
        try:
            await self._run("rev-parse", "--quiet", "--verify", "HEAD^{commit}")
        except GitFailed:
            raise await self._no_branch(_NO_HEAD, "") from None
        if self._checkout.sparse:
            await self._select()
            await self._run("checkout", "--quiet", "--progress", "HEAD", "--")

    async def _select(self) -> None:
        """Limits the next checkout to the folders or patterns of a sparse checkout."""
        mode = "--cone" if are_folders(self._checkout.sparse) else "--no-cone"
        await self._run("sparse-checkout", "set", mode, *self._checkout.sparse)

    async def _fetch_commit(self, commit: str) -> None:
        message = f"the repository has no commit {commit}"
        if is_commit_id(commit):
            found = await self._fetch_id(commit.lower(), message)
        else:
            found = await self._fetch_revision(commit, message)
        await self._run("checkout", "--quiet", "--progress", "--detach", found, "--")

    async def _fetch_id(self, commit: str, message: str) -> str:
        """Fetches a commit by its id, whole or abbreviated; returns the whole id."""
        await self._init("sha256" if len(commit) == max(_FULL_IDS) else "sha1")
        full = len(commit) in _FULL_IDS
        if not (full and self._checkout.depth and await self._fetched(commit)):
            await self._fetch_all()
            if full and not self._checkout.depth and not await self._has(commit):
                await self._fetched(commit)  # no branch has the commit
        found = await self._commit_of(commit, message)
        if not found.startswith(commit):  # a tag can be called like an abbreviated id
            raise GitFailed(f"no commit {commit}", f"{commit} names something other than a commit")
        return found

    async def _fetch_revision(self, name: str, message: str) -> str:
        """Fetches a commit by the name of a branch, a tag, a ref or a revision; returns its id."""
        await self._init(await self._object_format(name))
        if self._checkout.depth and await self._fetched(name):
            return await self._commit_of("FETCH_HEAD", message)
        await self._fetch_all()
        with suppress(GitFailed):  # the repository may have no HEAD
            await self._run("remote", "set-head", "origin", "--auto")
        with suppress(GitFailed):
            return await self._commit_of(f"origin/{name}", message)
        if not self._checkout.depth and not await self._has(name) and await self._fetched(name):
            return await self._commit_of("FETCH_HEAD", message)  # a ref that is no branch
        return await self._commit_of(name, message)

    async def _fetch_all(self) -> None:
        await self._run(
            "fetch", "--progress", *self._filter(), "--tags", "--", "origin", _ALL_BRANCHES
        )

    async def _fetch_ref(self, ref: str) -> None:
        """Fetches and checks out the ref of a full name. HEAD is a branch only for refs/heads/."""
        await self._init(await self._object_format(ref))
        branch = ref.removeprefix(_BRANCH) if ref.startswith(_BRANCH) else ""
        tracking = f"refs/remotes/origin/{branch}" if branch else ref
        fetch = ("fetch", "--progress", *self._depth(), *self._filter())
        try:
            await self._run(*fetch, "--", "origin", f"+{ref}:{tracking}")
        except GitFailed as failure:
            if _NO_REF in failure.stderr:
                raise await self._no_branch(
                    f"the repository has no {ref}", failure.stderr
                ) from None
            raise
        commit = await self._commit_of(tracking, f"{ref} is not a commit")
        if not self._checkout.single_branch:
            await self._run(*fetch, "--tags", "--", "origin", _ALL_BRANCHES)
        onto = ("-B", branch) if branch else ("--detach",)
        await self._run("checkout", "--quiet", "--progress", *onto, commit, "--")

    async def _init(self, object_format: str) -> None:
        await self._run("init", "--quiet", f"--object-format={object_format}")
        await self._run("remote", "add", "--", "origin", self._spec.repository)
        if self._checkout.sparse:
            await self._select()

    async def _object_format(self, name: str) -> str:
        """The repository's object format, by the length of the ids that it lists for a name."""
        ids = await self._run("ls-remote", "--", self._spec.repository, name)
        return "sha256" if len(ids.partition("\t")[0]) == max(_FULL_IDS) else "sha1"

    async def _fetched(self, commit: str) -> bool:
        options = ("--progress", "--no-tags", *self._depth(), *self._filter())
        try:
            await self._run("fetch", *options, "--", "origin", commit)
        except GitFailed:
            return False
        return True

    def _depth(self) -> tuple[str, ...]:
        return (f"--depth={self._checkout.depth}",) if self._checkout.depth else ()

    def _filter(self) -> tuple[str, ...]:
        return (f"--filter={self._checkout.filter}",) if self._checkout.filter else ()

    async def _has(self, commit: str) -> bool:
        try:
            await self._commit_of(commit, "")
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

    async def _no_branch(self, message: str, stderr: str) -> GitFailed:
        """The failure of a clone whose branch is not there: names the branches that are there."""
        listed = await self._run("ls-remote", "--heads", "--", self._spec.repository)
        refs = [line.partition("\t")[2] for line in listed.splitlines()]
        names = [ref.removeprefix(_BRANCH) for ref in refs if ref.startswith(_BRANCH)]
        if not names:
            return GitFailed("the repository has no commit yet", stderr)
        more = ", and more" if len(names) > _BRANCHES_NAMED else ""
        branches = printable(", ".join(map(shortened, names[:_BRANCHES_NAMED])))
        return GitFailed(
            f"{message}: ask for one of its branches by name ({branches}{more})", stderr
        )
