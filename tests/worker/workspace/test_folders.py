"""Workspaces on a real disk, with a real git and a real supervisor."""

import asyncio
import os
import socket
import subprocess
from pathlib import Path
from typing import Final

import pytest
from msgspec import structs

from airunner.model.reports import CloneEnded, CloneProgressed, CloneStarted
from airunner.model.spec import Checkout, Submodules
from airunner.worker.process import Deadline
from airunner.worker.workspace.git_clone import GitCloner
from airunner.worker.workspace.git_environment import git_environment
from airunner.worker.workspace.workspace import CheckoutFailed, NoRoom, SetupFailed
from tests.promises import holds
from tests.support.descriptors import deep_tree
from tests.worker.workspace.origins import commit, depth, git, head, make_origin, text
from tests.worker.workspace.workbench import Bench, play

DEFAULT = Checkout()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin")


def test_a_workspace_without_a_repository_is_empty_and_private(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        folder = await bench.fetch()
        assert bench.reports == []
        assert os.listdir(folder.directory()) == os.listdir(folder.home) == []
        for path in (bench.folders.root, folder.path, folder.home, folder.directory()):
            assert os.stat(path).st_mode & 0o777 == 0o700
        await folder.remove()
        bench.folders.close()
        assert os.listdir(bench.folders.root) == []

    play(tmp_path, scene)


def test_a_workspace_that_nobody_has_touched_serves_again_under_another_name(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        first = bench.make()
        inode = os.stat(first.home).st_ino
        await first.remove()
        second = bench.make()
        assert os.stat(second.home).st_ino == inode
        assert not first.path.exists()
        assert second.path != first.path
        await second.remove()
        bench.folders.close()
        assert os.listdir(bench.folders.root) == []

    play(tmp_path, scene)


TOUCHES: Final = {
    "a file at home": 'touch "$HOME/file"',
    "a file that is hidden": "touch .file",
    "a file beside them": "touch ../file",
    "a file that is gone": "touch file; rm file",
    "a folder that is another": 'rmdir "$HOME"; mkdir -m 700 "$HOME"',
    "rights": 'chmod 755 "$HOME"',
    "a link": 'rmdir "$HOME"; ln -s . "$HOME"',
    "nothing": "rm -r ../*",
}


@holds("processes/nothing-left-for-the-next-job")
@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES.keys())
def test_a_workspace_that_a_job_has_touched_does_not_serve_again(
    tmp_path: Path, touch: str
) -> None:
    async def scene(bench: Bench) -> None:
        folder = bench.make()
        await bench.fixture.run(
            "sh", "-c", f"HOME={folder.home}; {touch}", directory=folder.directory()
        )
        await folder.remove()
        assert not folder.path.exists()
        parent = folder.path.parent
        assert os.listdir(parent) == []
        fresh = bench.make()
        assert os.listdir(fresh.directory()) == os.listdir(fresh.home) == []
        assert os.stat(fresh.home).st_mode & 0o777 == 0o700

    play(tmp_path, scene)


def test_two_workspaces_of_one_attempt_are_not_the_same(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        assert bench.make().path != bench.make().path

    play(tmp_path, scene)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_clone_has_the_depth_that_was_asked_for(
    tmp_path: Path, origin: Path, scheme: str
) -> None:
    async def scene(bench: Bench) -> None:
        url = f"{scheme}{origin}"
        shallow = await bench.fetch(repository=url)
        assert (text(shallow), depth(shallow)) == ("three", 1)
        assert depth(await bench.fetch(repository=url, checkout=Checkout(depth=2))) == 2
        assert depth(await bench.fetch(repository=url, checkout=Checkout(depth=0))) == 3
        started, ended = bench.reports[:2]
        assert isinstance(started, CloneStarted)
        assert isinstance(ended, CloneEnded)
        assert started.repository == url
        assert (ended.commit, ended.directory) == (head(shallow), shallow.directory())

    play(tmp_path, scene)


def test_no_checkout_leaves_the_workspace_empty(tmp_path: Path, origin: Path) -> None:
    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(repository=str(origin), checkout=None)
        assert os.listdir(folder.directory()) == []
        assert bench.reports == []

    play(tmp_path, scene)


@pytest.mark.parametrize(("branch", "content"), [("other", "elsewhere"), ("v1", "two")])
def test_a_branch_or_a_tag_can_be_asked_for(
    tmp_path: Path, origin: Path, branch: str, content: str
) -> None:
    async def scene(bench: Bench) -> None:
        assert text(await bench.fetch(repository=str(origin), branch=branch)) == content

    play(tmp_path, scene)


def test_branches_beside_the_one_come_only_if_asked_for(tmp_path: Path, origin: Path) -> None:
    async def scene(bench: Bench) -> None:
        for single in (True, False):
            checkout = Checkout(single_branch=single)
            folder = await bench.fetch(repository=str(origin), checkout=checkout)
            branches = git(Path(folder.directory()), "branch", "-r")
            assert ("origin/other" in branches) is not single

    play(tmp_path, scene)


@pytest.mark.parametrize("digits", [40, 8])
@pytest.mark.parametrize("willing", [True, False])
def test_a_commit_can_be_asked_for_of_servers_that_give_single_ones_and_of_others(
    tmp_path: Path, origin: Path, digits: int, willing: bool
) -> None:
    wanted = git(origin, "rev-parse", "HEAD~2")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", str(willing).lower())
    git(origin, "config", "protocol.version", "0")

    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(repository=str(origin), commit=wanted[:digits].upper())
        assert (text(folder), head(folder)) == ("one", wanted)
        ended = bench.reports[-1]
        assert isinstance(ended, CloneEnded)
        assert ended.commit == wanted

    play(tmp_path, scene)


def test_a_single_commit_is_fetched_without_its_history(tmp_path: Path, origin: Path) -> None:
    wanted = git(origin, "rev-parse", "HEAD~1")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")

    async def scene(bench: Bench) -> None:
        assert depth(await bench.fetch(repository=str(origin), commit=wanted)) == 1
        whole = Checkout(depth=0)
        assert depth(await bench.fetch(repository=str(origin), commit=wanted, checkout=whole)) == 2

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        *(("main", "main"), ("other", "other"), ("v1", "v1"), ("HEAD", "main")),
        *(("refs/pull/7/head", "main~2"), ("main~2", "main~2"), ("v1^{}", "v1")),
        *(("other^", "other^"), ("HEAD^{/two}", "main~1"), ("refs/tags/v1~1", "main~2")),
    ],
)
def test_any_revision_that_git_takes_is_a_commit(
    tmp_path: Path, origin: Path, name: str, revision: str
) -> None:
    git(origin, "update-ref", "refs/pull/7/head", "main~2")

    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(repository=str(origin), commit=name)
        assert head(folder) == git(origin, "rev-parse", f"{revision}^{{commit}}")

    play(tmp_path, scene)


def test_a_ref_is_fetched_at_the_depth_that_was_asked_for(tmp_path: Path, origin: Path) -> None:
    async def scene(bench: Bench) -> None:
        assert depth(await bench.fetch(repository=str(origin), commit="main")) == 1
        whole = Checkout(depth=0)
        assert depth(await bench.fetch(repository=str(origin), commit="main", checkout=whole)) == 3

    play(tmp_path, scene)


def test_a_tag_that_looks_like_a_commit_is_not_taken_for_one(tmp_path: Path, origin: Path) -> None:
    git(origin, "tag", "beef")

    async def scene(bench: Bench) -> None:
        why, said = await bench.refused(repository=str(origin), commit="beef")
        assert "beef" in why
        assert "other than a commit" in said

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "fields",
    [
        {"branch": "no-such-branch"},
        {"commit": "0123456789abcdef0123456789abcdef01234567"},
        {"commit": "01234567"},
        {"commit": "no-such-branch"},
        {"commit": "main~99"},
    ],
)
def test_a_ref_that_does_not_exist_fails_with_what_git_said(
    tmp_path: Path, origin: Path, fields: dict[str, str]
) -> None:
    async def scene(bench: Bench) -> None:
        why, said = await bench.refused(repository=str(origin), **fields)
        assert said
        assert said in why
        assert "objects: " not in said
        if "commit" in fields:
            assert f"the repository has no commit {fields['commit']}" in why

    play(tmp_path, scene)


@pytest.mark.parametrize("whole", [True, False], ids=["clone", "commit"])
def test_a_clone_that_takes_its_time_says_how_far_it_is(
    tmp_path: Path, origin: Path, whole: bool
) -> None:
    hook = tmp_path / "slow"
    hook.write_text('#!/bin/sh\nsleep 1.2\nexec "$@"\n')
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[uploadpack]\n\tpackObjectsHook = {hook}\n")
    wanted = "" if whole else git(origin, "rev-parse", "main")

    async def scene(bench: Bench) -> None:
        await bench.fetch(repository=str(origin), commit=wanted)
        started, *progress, ended = bench.reports
        assert isinstance(started, CloneStarted)
        assert isinstance(ended, CloneEnded)
        assert progress
        for each in progress:
            assert isinstance(each, CloneProgressed)
            assert "objects: " in each.message

    play(tmp_path, scene)


def test_a_repository_without_a_commit_is_told_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet")

    async def scene(bench: Bench) -> None:
        why, _ = await bench.refused(repository=str(empty))
        assert "the repository has no commit yet" in why

    play(tmp_path, scene)


def test_a_repository_that_does_not_exist_fails_with_what_git_said(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        _, said = await bench.refused(repository=str(tmp_path / "nowhere"))
        assert "nowhere" in said

    play(tmp_path, scene)


@pytest.mark.parametrize("scheme", ["", "file://", "FILE://"])
def test_a_local_repository_is_refused_unless_allowed(
    tmp_path: Path, origin: Path, scheme: str
) -> None:
    async def scene(bench: Bench) -> None:
        folder = bench.make()
        folder._spec = structs.replace(folder._spec)
        structs.force_setattr(folder._spec, "repository", f"{scheme}{origin}")
        with pytest.raises(CheckoutFailed, match="--allow-local-repositories"):
            await folder.fetch(bench.report, Deadline())
        assert os.listdir(folder.directory()) == []

    play(tmp_path, scene, allow_local=False)


@pytest.mark.parametrize("allow_local", [True, False])
@pytest.mark.parametrize("address", ["ext::sh -c touch% PWNED", "--upload-pack=touch PWNED"])
def test_no_address_runs_a_command_even_if_it_gets_past_the_checks(
    tmp_path: Path, allow_local: bool, address: str
) -> None:
    async def scene(bench: Bench) -> None:
        folder = bench.make()
        structs.force_setattr(folder._spec, "repository", address.replace("PWNED", f"{tmp_path}/x"))
        with pytest.raises(CheckoutFailed):
            await folder.fetch(bench.report, Deadline())
        assert not (tmp_path / "x").exists()

    play(tmp_path, scene, allow_local=allow_local)


@pytest.fixture
def nested(tmp_path: Path, origin: Path) -> Path:
    """A repository with a submodule that has a submodule."""
    inner, middle, outer = origin, tmp_path / "middle", tmp_path / "outer"
    for folder, below in ((middle, inner), (outer, middle)):
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
        git(folder, "submodule", "--quiet", "add", str(below), "sub")
        commit(folder, folder.name)
    return outer


@pytest.mark.parametrize(
    ("submodules", "first", "second"),
    [
        (Submodules.NONE, False, False),
        (Submodules.TOP, True, False),
        (Submodules.RECURSIVE, True, True),
    ],
)
def test_submodules_come_as_deep_as_asked_for(
    tmp_path: Path, nested: Path, submodules: Submodules, first: bool, second: bool
) -> None:
    async def scene(bench: Bench) -> None:
        checkout = Checkout(submodules=submodules)
        folder = Path((await bench.fetch(repository=str(nested), checkout=checkout)).directory())
        assert (folder / "sub" / "file").exists() is first
        assert (folder / "sub" / "sub" / "file").exists() is second

    play(tmp_path, scene)


def test_a_submodule_of_this_machine_is_refused_where_local_repositories_are(
    tmp_path: Path, nested: Path
) -> None:
    """The repository itself is allowed, and the local path in its .gitmodules is not."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(nested), str(clone))
    done = subprocess.run(
        ["git", "-C", str(clone), "submodule", "update", "--init"],
        capture_output=True,
        text=True,
        check=False,
        env=git_environment({"HOME": str(tmp_path)}, allow_local=False),
    )
    assert done.returncode != 0
    assert "not allowed" in done.stderr


def test_the_worker_gives_git_its_credentials_but_not_its_own_secrets() -> None:
    own = {
        "HOME": "/home/ann",
        "SSH_AUTH_SOCK": "/run/agent",
        "AIRUNNER_TOKEN": "secret",
        "JWT_SIGNING_KEY": "secret",
        "GIT_DIR": "/elsewhere",
        "GIT_ALLOW_PROTOCOL": "ext",
        "SSH_ASKPASS": "/usr/bin/ssh-askpass",
        "GIT_ASKPASS": "/opt/print-token",
        "PATH": "bin:/usr/bin::.:/bin:",
    }
    environment = git_environment(own, allow_local=False)
    assert environment["HOME"] == "/home/ann"
    assert environment["SSH_AUTH_SOCK"] == "/run/agent"
    assert environment["GIT_TERMINAL_PROMPT"] == "0"
    assert environment["GIT_ALLOW_PROTOCOL"] == "https:http:ssh:git"
    assert "secret" not in environment.values()
    assert not {"GIT_DIR", "SSH_ASKPASS"} & environment.keys()
    assert environment["GIT_ASKPASS"] == "/opt/print-token"
    assert environment["PATH"] == "/usr/bin:/bin"


def test_a_checkout_shares_no_file_with_its_origin(tmp_path: Path, origin: Path) -> None:
    links: list[int] = []

    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(repository=str(origin), checkout=Checkout(depth=0))
        for place, _, names in os.walk(folder.directory()):
            links.extend(os.stat(f"{place}/{name}").st_nlink for name in names)

    play(tmp_path, scene)
    assert set(links) == {1}


def test_a_fetch_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    """The repository is a server that never answers."""

    async def scene(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)
            url = f"git://127.0.0.1:{silent.getsockname()[1]}/x"
            async with asyncio.TaskGroup() as tasks:
                fetching = tasks.create_task(bench.fetch(repository=url))
                connection, _ = await loop.sock_accept(silent)
                with connection:
                    fetching.cancel()
                    await asyncio.wait([fetching])

    play(tmp_path, scene)  # whose fixture asserts that nothing is left


def test_a_worker_without_git_says_so(tmp_path: Path, origin: Path) -> None:
    async def scene(bench: Bench) -> None:
        bench.folders.cloner = GitCloner(
            bench.fixture.supervisor, bench.folders.clock, {"PATH": str(tmp_path)}, allow_local=True
        )
        why, _ = await bench.refused(repository=str(origin))
        assert "git could not be started" in why

    play(tmp_path, scene)


def test_artifacts_of_a_clone_are_all_that_the_patterns_mean(tmp_path: Path, origin: Path) -> None:
    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(repository=str(origin), artifacts=("*",))
        await bench.fixture.run("touch", "new", directory=folder.directory())
        assert folder.results
        collected = await folder.collect(folder.results.sink)
        assert [each.path for each in collected.artifacts] == ["file", "new"]
        assert sorted(os.listdir(tmp_path / "here" / "results")) == ["file", "new"]
        await folder.remove()

    play(tmp_path, scene, results=tmp_path / "here" / "results")


# The working directory


def test_a_working_directory_is_one_of_the_checkout(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        folder = bench.make()
        checkout = folder.path / "checkout"
        with pytest.raises(SetupFailed, match="no working directory 'src/app'"):
            folder.directory("src/app")
        (checkout / "src").mkdir()
        (checkout / "src" / "app").write_text("a file")
        with pytest.raises(SetupFailed, match="no working directory"):
            folder.directory("src/app")
        (checkout / "src" / "app").unlink()
        (checkout / "src" / "app").mkdir()
        assert folder.directory("src/app") == str(checkout / "src" / "app")

    play(tmp_path, scene)


@pytest.mark.parametrize("target", ["/etc", "..", "../home"])
def test_a_link_out_of_the_workspace_is_no_working_directory(tmp_path: Path, target: str) -> None:
    async def scene(bench: Bench) -> None:
        folder = bench.make()
        (folder.path / "checkout" / "link").symlink_to(target)
        with pytest.raises(SetupFailed, match="leads out of the workspace"):
            folder.directory("link")

    play(tmp_path, scene)


# Removing


def test_removing_takes_read_only_folders_links_and_deep_ones(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")

    async def scene(bench: Bench) -> None:
        folder = bench.make()
        checkout = folder.path / "checkout"
        (checkout / "locked" / "inner").mkdir(parents=True)
        (checkout / "locked" / "inner" / "file").write_text("x")
        (checkout / "link").symlink_to(outside)
        os.mkfifo(checkout / "pipe")
        for path in (checkout / "locked" / "inner", checkout / "locked", checkout):
            path.chmod(0o500)
        with deep_tree(Path(folder.home), 2_000):
            await folder.remove()
            assert not folder.path.exists()
        assert bench.journal == []

    play(tmp_path, scene)
    assert (outside / "precious").read_text() == "kept"


def test_a_kept_workspace_stays_and_is_named_in_the_log(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        folder = bench.make()
        await folder.remove()
        assert folder.path.is_dir()
        assert bench.journal == ["workspace_kept"]

    play(tmp_path, scene, keep=True)


def test_a_work_root_that_cannot_be_made_has_no_room_for_a_job_until_it_can(
    tmp_path: Path,
) -> None:
    (tmp_path / "work").write_text("a file")

    async def scene(bench: Bench) -> None:
        with pytest.raises(NoRoom, match=f"no workspace fits in {tmp_path}/work: "):
            bench.make()
        assert not bench.folders.has_room()
        (tmp_path / "work").unlink()
        assert bench.folders.has_room()
        assert bench.make().path.is_dir()

    play(tmp_path, scene)


def test_what_a_dead_worker_left_is_swept_and_what_a_living_one_uses_is_not(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        dead, living = bench.make(), Bench(bench.root, bench.fixture, keep=False, allow_local=True)
        (Path(dead.home) / "file").write_text("x")
        used = living.make()
        (bench.root / "mine").mkdir()
        bench.folders.close()  # as the kernel does for a process that is gone
        await living.folders.sweep()
        assert not dead.path.exists()
        assert used.path.is_dir()
        assert living.journal == ["workspaces_swept"]
        newest = Bench(bench.root, bench.fixture, keep=False, allow_local=True)
        await newest.folders.sweep()
        assert used.path.is_dir()
        await used.remove()
        living.folders.close()
        assert os.listdir(bench.root) == ["mine"]

    play(tmp_path, scene)


def test_a_root_that_does_not_exist_yet_has_nothing_to_sweep(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await bench.folders.sweep()
        assert bench.journal == []

    play(tmp_path, scene)


def test_kept_workspaces_are_not_swept(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        kept = bench.make()
        bench.folders.close()
        other = Bench(bench.root, bench.fixture, keep=False, allow_local=True)
        await other.folders.sweep()
        assert kept.path.is_dir()

    play(tmp_path, scene, keep=True)
