"""Clones of a part of a repository, by a real git."""

from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest

from airunner.model.reports import Remark
from airunner.model.spec import Checkout
from tests.worker.workspace.http_server import Silent, serve
from tests.worker.workspace.origins import commit, depth, git, head, make_origin, text
from tests.worker.workspace.workbench import Bench, play


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    made = make_origin(tmp_path / "origin")
    git(made, "config", "uploadpack.allowFilter", "true")
    return made


def missing(checkout: Path) -> int:
    """The number of objects that a partial clone has not fetched."""
    listed = git(checkout, "rev-list", "--objects", "--all", "--missing=print")
    return sum(line.startswith("?") for line in listed.splitlines())


def remarks(bench: Bench) -> list[str]:
    return [each.message for each in bench.reports if isinstance(each, Remark)]


# Filters


@pytest.mark.parametrize("fields", [{}, {"branch": "main"}, {"branch": "refs/heads/main"},
                                    {"commit": "main"}, {"commit": "ID"}, {"commit": "ID[:8]"}])  # fmt: skip
def test_a_filter_leaves_objects_out_until_they_are_read(
    tmp_path: Path, origin: Path, fields: dict[str, Any]
) -> None:
    whole = git(origin, "rev-parse", "HEAD")
    ids = {"ID": whole, "ID[:8]": whole[:8]}
    fields = {name: ids.get(value, value) for name, value in fields.items()}

    async def scene(bench: Bench) -> None:
        for filter in ("blob:none", "blob:limit=1", "tree:0"):
            checkout = Checkout(depth=0, filter=filter)
            folder = await bench.fetch(repository=f"file://{origin}", checkout=checkout, **fields)
            assert (text(folder), depth(folder), head(folder)) == ("three", 3, whole)
            assert missing(Path(folder.directory())) >= 2
            assert git(Path(folder.directory()), "show", "HEAD~1:file") == "two"
        assert remarks(bench) == []

    play(tmp_path, scene)


@pytest.mark.parametrize("number", [1, 0])
def test_a_server_that_takes_no_filter_sends_all_objects_and_a_remark_says_so(
    tmp_path: Path, origin: Path, number: int
) -> None:
    git(origin, "config", "uploadpack.allowFilter", "false")
    asked: list[dict[str, Any]] = [{}, {"commit": "main"}, {"branch": "refs/heads/main"}]

    async def scene(bench: Bench) -> None:
        checkout = Checkout(depth=number, filter="blob:none")
        for fields in asked:
            folder = await bench.fetch(repository=str(origin), checkout=checkout, **fields)
            assert (text(folder), missing(Path(folder.directory()))) == ("three", 0)
        assert len(remarks(bench)) == len(asked)
        assert "takes no filter (uploadpack.allowFilter)" in remarks(bench)[0]

    play(tmp_path, scene)


def test_a_server_of_files_alone_sends_all_objects_and_a_remark_says_so(
    tmp_path: Path, origin: Path
) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(origin), str(bare))
    git(bare, "update-server-info")
    handler = partial(Silent, directory=str(tmp_path))

    async def scene(bench: Bench) -> None:
        with serve(HTTPServer(("127.0.0.1", 0), handler)) as url:
            checkout = Checkout(depth=0, filter="blob:none")
            folder = await bench.fetch(repository=f"{url}/bare.git", checkout=checkout)
        assert text(folder) == "three"
        assert len(remarks(bench)) == 1

    play(tmp_path, scene, allow_local=False)


# Sparse checkouts

WAYS: list[dict[str, Any]] = [
    {},
    {"branch": "main"},
    {"branch": "v2"},
    {"branch": "refs/heads/main"},
    {"commit": "main"},
    {"commit": "ID"},
]


@pytest.fixture
def wide(origin: Path) -> Path:
    """A repository with files in folders and a tag."""
    for path in ("src/a.py", "src/in/b.py", "docs/c.md", "docs/api/d.md", "test/e.py", "-x/f"):
        (origin / path).parent.mkdir(parents=True, exist_ok=True)
        (origin / path).write_text(path)
    commit(origin, "wide")
    git(origin, "tag", "v2")
    return origin


def files(checkout: str) -> set[str]:
    return {
        str(each.relative_to(checkout))
        for each in Path(checkout).rglob("*")
        if each.is_file() and ".git" not in each.relative_to(checkout).parts
    }


@pytest.mark.parametrize("fields", WAYS)
def test_a_sparse_checkout_has_the_folders_or_the_patterns_that_it_names(
    tmp_path: Path, wide: Path, fields: dict[str, Any]
) -> None:
    whole = git(wide, "rev-parse", "HEAD")
    fields = {name: whole if value == "ID" else value for name, value in fields.items()}
    branch = "" if fields.get("branch") == "v2" or "commit" in fields else "main"

    async def scene(bench: Bench) -> None:
        for sparse, found in (
            (("src/in", "docs/api"), {"file", "src/a.py", "src/in/b.py", "docs/c.md", "docs/api/d.md"}),
            (("/-x", "*.md", "!d.md"), {"-x/f", "docs/c.md"}),
        ):  # fmt: skip
            checkout = Checkout(sparse=sparse)
            folder = await bench.fetch(repository=str(wide), checkout=checkout, **fields)
            assert files(folder.directory()) == found
            assert (head(folder), folder.revision.branch) == (whole, branch)
            assert git(Path(folder.directory()), "status", "--porcelain") == ""
        assert remarks(bench) == []

    play(tmp_path, scene)


def test_a_sparse_checkout_of_a_partial_clone_fetches_no_other_file(
    tmp_path: Path, wide: Path
) -> None:
    async def scene(bench: Bench) -> None:
        for fields in WAYS[:-1]:
            checkout = Checkout(sparse=("src/in",), filter="blob:none")
            folder = await bench.fetch(repository=str(wide), checkout=checkout, **fields)
            assert files(folder.directory()) == {"file", "src/a.py", "src/in/b.py"}
            assert (
                missing(Path(folder.directory())) == 4
            )  # docs/c.md, docs/api/d.md, test/e.py, -x/f

    play(tmp_path, scene)


def test_a_folder_that_is_not_there_gets_a_remark_and_a_file_is_no_option(
    tmp_path: Path, wide: Path
) -> None:
    (wide / "--stdin").write_text("")
    commit(wide, "like an option")

    async def scene(bench: Bench) -> None:
        checkout = Checkout(sparse=("src", "sorce"))
        folder = await bench.fetch(repository=str(wide), checkout=checkout)
        assert files(folder.directory()) == {"file", "--stdin", "src/a.py", "src/in/b.py"}
        assert remarks(bench) == ["the repository has no folder sorce (sparse)"]
        folder = await bench.fetch(repository=str(wide), checkout=Checkout(sparse=("/--stdin",)))
        assert files(folder.directory()) == {"--stdin"}

    play(tmp_path, scene)


def test_a_missing_branch_and_an_empty_repository_fail_as_without_a_sparse_checkout(
    tmp_path: Path, wide: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q", "-b", "main")

    async def scene(bench: Bench) -> None:
        checkout = Checkout(sparse=("src",))
        why, _ = await bench.refused(repository=str(wide), branch="mian", checkout=checkout)
        assert "the repository has no branch and no tag mian" in why
        why, _ = await bench.refused(repository=str(empty), checkout=checkout)
        assert "the repository has no commit yet" in why

    play(tmp_path, scene)
