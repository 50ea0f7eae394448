"""Clones of a part of a repository, by a real git."""

from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest

from airunner.model.reports import Remark
from airunner.model.spec import Checkout
from tests.worker.workspace.http_server import Silent, serve
from tests.worker.workspace.origins import depth, git, head, make_origin, text
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
