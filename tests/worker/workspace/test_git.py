"""Clones by a real git: branches, refs, depths, addresses with spaces, and the text of failures."""

from pathlib import Path
from typing import Final

import pytest

from airunner.jobfile.draft import resolve_repository
from airunner.model.reports import Remark
from airunner.model.spec import Checkout
from airunner.worker.workspace.git_command import STDERR_BYTES_MAX
from tests.worker.workspace.origins import commit, depth, git, head, make_origin, text
from tests.worker.workspace.workbench import Bench, play

TOKEN: Final = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin")


def pack_hook(home: Path, script: str) -> None:
    """Lets git's server side run a script instead of the program that makes packs."""
    hook = home / "hook"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(f"[uploadpack]\n\tpackObjectsHook = {hook}\n")


# Branches and refs


@pytest.mark.parametrize("single", [True, False])
def test_a_head_that_names_a_missing_branch_lists_the_branches(
    tmp_path: Path, origin: Path, single: bool
) -> None:
    git(origin, "symbolic-ref", "HEAD", "refs/heads/master")

    async def scene(bench: Bench) -> None:
        checkout = Checkout(single_branch=single)
        why, _ = await bench.refused(repository=str(origin), checkout=checkout)
        assert "HEAD of the repository names a branch that is not there" in why
        assert "(main, other)" in why
        assert text(await bench.fetch(repository=str(origin), branch="main")) == "three"

    play(tmp_path, scene)


def test_a_branch_that_is_missing_lists_the_branches_and_cuts_long_lists(
    tmp_path: Path, origin: Path
) -> None:
    async def scene(bench: Bench) -> None:
        why, _ = await bench.refused(repository=str(origin), branch="mian")
        assert "the repository has no branch and no tag mian" in why
        assert "(main, other)" in why
        for number in range(30):
            git(origin, "branch", f"b{number:02}{'x' * 200}")
        why, _ = await bench.refused(repository=str(origin), branch="mian")
        assert ", and more)" in why
        assert len(why.encode()) < 4096

    play(tmp_path, scene)


def test_a_ref_that_is_missing_lists_the_branches(tmp_path: Path, origin: Path) -> None:
    async def scene(bench: Bench) -> None:
        for ref in ("refs/heads/mian", "refs/pull/8/head"):
            why, _ = await bench.refused(repository=str(origin), branch=ref)
            assert f"the repository has no {ref}: ask for one of its branches by name (main" in why

    play(tmp_path, scene)


def test_a_folder_that_is_no_repository_is_told_from_one_without_access(
    tmp_path: Path, origin: Path
) -> None:
    async def scene(bench: Bench) -> None:
        (tmp_path / "plain").mkdir()
        (origin / "below").mkdir()
        for folder in (tmp_path / "plain", origin / "below", tmp_path / "missing"):
            for branch in ("", "refs/heads/main"):
                why, _ = await bench.refused(repository=str(folder), branch=branch)
                assert "name the top folder of a git repository" in why

    play(tmp_path, scene)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    ("ref", "content", "branch"),
    [
        ("refs/pull/7/head", "proposed", ""),
        ("refs/heads/other", "elsewhere", "other"),
        ("refs/tags/v1", "two", ""),
    ],
)
def test_any_ref_is_checked_out_by_its_full_name(
    tmp_path: Path, origin: Path, ref: str, content: str, branch: str, single: bool
) -> None:
    git(origin, "checkout", "-q", "--detach")
    commit(origin, "proposed")
    git(origin, "update-ref", "refs/pull/7/head", "HEAD")
    git(origin, "checkout", "-q", "main")

    async def scene(bench: Bench) -> None:
        checkout = Checkout(single_branch=single)
        folder = await bench.fetch(repository=str(origin), branch=ref, checkout=checkout)
        assert (text(folder), depth(folder)) == (content, 1)
        assert (folder.revision.branch, folder.revision.commit) == (branch, head(folder))
        remote = git(Path(folder.directory()), "branch", "-r")
        assert ("origin/main" in remote) is not single
        whole = Checkout(depth=0)
        folder = await bench.fetch(repository=str(origin), branch=ref, checkout=whole)
        assert depth(folder) == int(git(origin, "rev-list", "--count", ref))
        why, _ = await bench.refused(repository=str(origin), branch="refs/pull/8/head")
        assert "refs/pull/8/head" in why

    play(tmp_path, scene)


def test_the_whole_history_of_a_commit_has_the_tags_and_the_branches(
    tmp_path: Path, origin: Path
) -> None:
    git(origin, "tag", "-a", "v2", "-m", "v2", "HEAD~1")
    wanted = git(origin, "rev-parse", "HEAD")

    async def scene(bench: Bench) -> None:
        for name in (wanted, wanted[:8], "main", "other~1", "refs/heads/main"):
            folder = await bench.fetch(
                repository=str(origin), commit=name, checkout=Checkout(depth=0)
            )
            checkout = Path(folder.directory())
            assert git(checkout, "describe", "--tags").startswith("v2-1-g")
            assert "origin/other" in git(checkout, "branch", "-r")
            assert head(folder) == wanted

    play(tmp_path, scene)


def test_the_whole_history_of_a_commit_that_no_branch_has_is_fetched_by_its_id(
    tmp_path: Path, origin: Path
) -> None:
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(origin, "checkout", "-q", "--detach")
    wanted = commit(origin, "lonely")
    git(origin, "checkout", "-q", "main")

    async def scene(bench: Bench) -> None:
        whole = Checkout(depth=0)
        folder = await bench.fetch(repository=str(origin), commit=wanted, checkout=whole)
        assert (text(folder), depth(folder)) == ("lonely", 4)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "name", ["my repo", "a%20b", "tab\there", "é ü", "\u202efdp", "latin-\udce9"]
)
def test_a_folder_of_any_name_is_cloned(tmp_path: Path, name: str) -> None:
    make_origin(tmp_path / name)
    address = resolve_repository(f"./{name}", tmp_path)

    async def scene(bench: Bench) -> None:
        assert text(await bench.fetch(repository=address)) == "three"

    play(tmp_path, scene)


# Git LFS


def test_a_checkout_with_lfs_pointers_gets_a_remark(tmp_path: Path, origin: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    (origin / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (origin / "fetched.bin").write_text("the file itself")
    (origin / "link.bin").symlink_to("/dev/stdin")
    commit(origin, "no pointer")
    (origin / "dir").mkdir()
    (origin / "dir" / "big\u202e é.bin").write_text(pointer)
    (origin / "plain.txt").write_text(pointer)
    git(origin, "checkout", "-qb", "pointers")
    commit(origin, "a pointer")

    async def scene(bench: Bench) -> None:
        await bench.fetch(repository=str(origin), branch="main")
        assert not [each for each in bench.reports if isinstance(each, Remark)]
        await bench.fetch(repository=str(origin), branch="pointers")
        remark = bench.reports[-1]
        assert isinstance(remark, Remark)
        assert remark.message.startswith("dir/big\\u202e é.bin is a pointer of Git LFS")
        assert "`lfs: true`" in remark.message

    play(tmp_path, scene)


# The text of a failure


def test_the_fatal_lines_of_git_come_before_the_banners(tmp_path: Path, origin: Path) -> None:
    pack_hook(tmp_path, "seq -f 'banner %g' 3000 >&2; exit 3")

    async def scene(bench: Bench) -> None:
        why, said = await bench.refused(repository=str(origin))
        assert said.startswith(("fatal: ", "remote: fatal: "))
        assert "ended with 128: " in why
        assert "fatal: " in why.partition("ended with 128: ")[2][:20]
        assert "remote: banner 3000" in said
        assert len(said.encode()) <= STDERR_BYTES_MAX
        assert len(why.encode()) < 4096

    play(tmp_path, scene)


def test_no_part_of_a_token_is_shown_wherever_a_line_is_cut(tmp_path: Path, origin: Path) -> None:
    """Lines of nearly the limit, with tokens around the cut, and a line of nothing but tokens."""
    size = STDERR_BYTES_MAX - len("remote: ")
    script = f"""
    for end in 2 20 40 55; do
        head -c $(({size} - end)) /dev/zero | tr '\\0' '.' >&2
        echo " https://{TOKEN}@host/x.git" >&2
    done
    head -c 100000 /dev/zero | tr '\\0' 'x' >&2; echo " {TOKEN}" >&2
    yes "https://ann:{TOKEN}@host/" | head -c 50000 | tr '\\n' ' ' >&2; echo >&2
    printf '\\033[1m{TOKEN}\\033[0m \\302\\233{TOKEN}\\n' >&2
    exit 3"""
    pack_hook(tmp_path, script)

    async def scene(bench: Bench) -> None:
        why, said = await bench.refused(repository=str(origin))
        assert "***" in said
        for shown in (why, said):
            for start in range(4, len(TOKEN) - 6, 3):
                assert TOKEN[start : start + 6] not in shown
            assert all(line.isprintable() for line in shown.splitlines())

    play(tmp_path, scene)
