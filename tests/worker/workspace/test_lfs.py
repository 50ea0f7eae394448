"""Git LFS, by a real git-lfs: files instead of pointers, and no files of the worker's own disks."""

import json
import os
import shutil
import socket
from functools import partial
from hashlib import sha256
from http.server import HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from airunner.model.jobs import Outcome, Reason
from airunner.model.reports import Remark
from airunner.model.spec import Checkout, Submodules
from airunner.worker.attempt.execution import Execution
from airunner.worker.attempt.local_attempt import LocalAttempt
from airunner.worker.attempt.runtime import Runtime
from tests.worker.workspace.http_server import Silent, serve
from tests.worker.workspace.origins import commit, git, make_origin
from tests.worker.workspace.workbench import Bench, play
from tests.zoo import PATH

LFS: Final = Checkout(lfs=True)
BIG: Final = "the file itself\n"
SECRET: Final = "a file of another repository\n"
POINTER: Final = "version https://git-lfs"
TRACKED: Final = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


@pytest.fixture
def variables() -> dict[str, str]:
    """The worker's variables, with a git-lfs, and with a setting that leaves pointers."""
    found = shutil.which("git-lfs")
    if found is None:
        pytest.skip("git-lfs is not installed")
    return {"PATH": f"{PATH}:{os.path.dirname(found)}", "GIT_LFS_SKIP_SMUDGE": "1"}


def track(folder: Path, content: str) -> Path:
    """Adds a file of Git LFS to a repository, with its object in the repository's own store."""
    git(folder, "lfs", "install", "--local", "--skip-repo")
    (folder / ".gitattributes").write_text(TRACKED)
    (folder / "dir").mkdir()
    (folder / "dir" / "big.bin").write_text(content)
    commit(folder, "with a large file")
    return folder


@pytest.fixture
def origin(tmp_path: Path, variables: dict[str, str]) -> Path:
    return track(make_origin(tmp_path / "origin"), BIG)


def bare(origin: Path, name: str = "bare.git") -> Path:
    """A copy for a server of files alone."""
    made = origin.parent / name
    git(origin.parent, "clone", "-q", "--bare", str(origin), str(made))
    git(made, "update-server-info")
    return made


class LfsServer(Silent):
    """Serves files, and the one object of Git LFS that it has."""

    def do_POST(self) -> None:  # noqa: N802  # the name that http.server calls
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        host = self.headers["Host"]
        answer = {
            "transfer": "basic",
            "objects": [
                {**each, "actions": {"download": {"href": f"http://{host}/object"}}}
                if each["oid"] == sha256(BIG.encode()).hexdigest()
                else {**each, "error": {"code": 404, "message": "no such object"}}
                for each in asked["objects"]
            ],
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.git-lfs+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_job_that_asks_for_lfs_gets_the_files_however_it_names_the_commit(
    tmp_path: Path, origin: Path, variables: dict[str, str]
) -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"branch": "main"},
        {"branch": "refs/heads/main"},
        {"commit": git(origin, "rev-parse", "HEAD")},
        {"commit": "main"},
    ]

    async def scene(bench: Bench) -> None:
        for fields in asked:
            folder = await bench.fetch(repository=str(origin), checkout=LFS, **fields)
            checkout = Path(folder.directory())
            assert (checkout / "dir" / "big.bin").read_text() == BIG
            assert git(checkout, "config", "--local", "filter.lfs.required") == "true"
            assert git(checkout, "status", "--porcelain") == ""
        assert not [each for each in bench.reports if isinstance(each, Remark)]
        folder = await bench.fetch(repository=str(origin))
        assert (Path(folder.directory()) / "dir" / "big.bin").read_text().startswith(POINTER)
        remark = bench.reports[-1]
        assert isinstance(remark, Remark)
        assert "dir/big.bin is a pointer of Git LFS" in remark.message
        assert "--lfs" in remark.message

    play(tmp_path, scene, variables=variables)


def test_submodules_get_their_files_of_lfs_too(
    tmp_path: Path, origin: Path, variables: dict[str, str]
) -> None:
    outer = make_origin(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(origin), "sub")
    commit(outer, "with a submodule")

    async def scene(bench: Bench) -> None:
        checkout = Checkout(lfs=True, submodules=Submodules.TOP)
        folder = await bench.fetch(repository=str(outer), checkout=checkout)
        assert (Path(folder.directory()) / "sub" / "dir" / "big.bin").read_text() == BIG

    play(tmp_path, scene, variables=variables)


def test_files_of_lfs_come_from_a_server_and_a_missing_file_is_an_error(
    tmp_path: Path, origin: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "object").write_text(BIG)
    made = bare(origin)
    handler = partial(LfsServer, directory=str(tmp_path))

    async def scene(bench: Bench) -> None:
        with serve(HTTPServer(("127.0.0.1", 0), handler)) as url:
            checkout = Checkout(depth=0, lfs=True)
            folder = await bench.fetch(repository=f"{url}/bare.git", checkout=checkout)
            assert (Path(folder.directory()) / "dir" / "big.bin").read_text() == BIG
            (origin / "dir" / "big.bin").write_text("on no server")
            commit(origin, "two")
            git(made, "fetch", "-q", str(origin), "+main:main")
            git(made, "update-server-info")
            why, said = await bench.refused(repository=f"{url}/bare.git", checkout=checkout)
        assert "Git LFS could not fetch a file" in why
        assert "no such object" in said

    play(tmp_path, scene, allow_local=False, variables=variables)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("address", ["file://{path}", "FILE://{path}", "{path}"])
def test_a_repository_names_no_files_of_lfs_on_the_workers_disks(
    tmp_path: Path, origin: Path, variables: dict[str, str], address: str, asked: bool
) -> None:
    """With `lfs: true`, and where the worker's user has Git LFS for all repositories."""
    secret = track(make_origin(tmp_path / "secret"), SECRET)
    evil = with_lfsconfig(tmp_path / "evil", address.format(path=secret), secret)
    bare(evil)
    if not asked:
        git(tmp_path, "lfs", "install", "--skip-repo")
        del variables["GIT_LFS_SKIP_SMUDGE"]
    handler = partial(Silent, directory=str(tmp_path))

    async def scene(bench: Bench) -> None:
        with serve(HTTPServer(("127.0.0.1", 0), handler)) as url:
            checkout = Checkout(depth=0, lfs=asked)
            why, _ = await bench.refused(repository=f"{url}/bare.git", checkout=checkout)
            assert "--allow-local-repositories" in why
            outer = make_origin(tmp_path / "outer")
            (outer / "sub").mkdir()
            (outer / ".gitmodules").write_text(
                f'[submodule "sub"]\n\tpath = sub\n\turl = {url}/bare.git\n'
            )
            link = f"160000,{git(evil, 'rev-parse', 'HEAD')},sub"
            git(outer, "update-index", "--add", "--cacheinfo", link)
            commit(outer, "a submodule with a pointer to the file")
            bare(outer, "outer.git")
            checkout = Checkout(depth=0, lfs=asked, submodules=Submodules.TOP)
            why, _ = await bench.refused(repository=f"{url}/outer.git", checkout=checkout)
            assert "--allow-local-repositories" in why
        written = [each for each in bench.root.rglob("*") if each.is_file()]
        assert written
        assert not [each for each in written if SECRET.encode() in each.read_bytes()]

    play(tmp_path, scene, allow_local=False, variables=variables)
    if asked:
        play(tmp_path, partial(_fetched, str(evil)), variables=variables)


def with_lfsconfig(folder: Path, address: str, secret: Path) -> Path:
    """A repository with a pointer to a file of another, and that one's address for Git LFS."""
    evil = make_origin(folder)
    (evil / ".gitattributes").write_text(TRACKED)
    (evil / ".lfsconfig").write_text(
        f"[lfs]\n\turl = {address}\n"
        '[lfs "customtransfer.lfs-standalone-file"]\n\tpath = git-lfs\n\targs = standalone-file\n'
    )
    pointer = git(secret, "cat-file", "-p", "HEAD:dir/big.bin")
    (evil / "big.bin").write_text(f"{pointer}\n")
    commit(evil, "a pointer to the file")
    return evil


async def _fetched(repository: str, bench: Bench) -> None:
    """The attack works where the worker allows it, so its refusal above proves something."""
    folder = await bench.fetch(repository=repository, checkout=LFS)
    assert (Path(folder.directory()) / "big.bin").read_text() == SECRET


def test_files_that_lfsconfig_leaves_out_get_a_remark(
    tmp_path: Path, origin: Path, variables: dict[str, str]
) -> None:
    (origin / ".lfsconfig").write_text("[lfs]\n\tfetchexclude = dir\n")
    commit(origin, "left out")

    async def scene(bench: Bench) -> None:
        await bench.fetch(repository=str(origin), checkout=LFS)
        remark = bench.reports[-1]
        assert isinstance(remark, Remark)
        assert "leave it out (.lfsconfig)" in remark.message

    play(tmp_path, scene, variables=variables)


def test_a_server_of_lfs_that_hangs_fails_the_set_up_at_its_limit(
    tmp_path: Path, origin: Path, variables: dict[str, str]
) -> None:
    async def scene(bench: Bench) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            (origin / ".lfsconfig").write_text(f"[lfs]\n\turl = http://127.0.0.1:{port}/\n")
            commit(origin, "with a server")
            made = bench.make(repository=str(origin), checkout=LFS)
            attempt = LocalAttempt(made._job, bench.report)
            runtime = Runtime(
                launcher=bench.fixture.supervisor,
                workspaces=bench.folders,
                clock=bench.folders.clock,
                log=bench.folders.log,
                setup_seconds=1,
            )
            await Execution(attempt, runtime).run()
        assert isinstance(attempt.verdict, Outcome)
        assert attempt.verdict.reason is Reason.SETUP_FAILED
        assert "set-up took longer than 1 s" in attempt.verdict.error

    play(tmp_path, scene, variables=variables)


def test_a_worker_without_git_lfs_refuses_the_job_and_says_so(tmp_path: Path) -> None:
    origin = make_origin(tmp_path / "origin")
    found = shutil.which("git", path=PATH)
    assert found
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").symlink_to(found)

    async def scene(bench: Bench) -> None:
        why, said = await bench.refused(repository=str(origin), checkout=LFS)
        assert "git-lfs is not on this worker: install it" in why
        assert why.endswith("or leave `lfs` out of the job")
        assert said == ""
        await bench.fetch(repository=str(origin))
        (programs / "git-lfs").write_text("#!/bin/sh\necho broken >&2; exit 3\n")
        (programs / "git-lfs").chmod(0o755)
        why, said = await bench.refused(repository=str(origin), checkout=LFS)
        assert (why, said) == ("checkout failed: git lfs ended with 3: broken", "broken")

    play(tmp_path, scene, variables={"PATH": str(programs)})


def test_a_sparse_checkout_has_its_files_of_lfs_and_no_others(
    tmp_path: Path, origin: Path, variables: dict[str, str]
) -> None:
    (origin / "other").mkdir()
    (origin / "other" / "small.bin").write_text("not asked for")
    commit(origin, "another large file")

    async def scene(bench: Bench) -> None:
        checkout = Checkout(lfs=True, sparse=("dir",))
        folder = await bench.fetch(repository=str(origin), checkout=checkout)
        assert sorted(os.listdir(folder.directory())) == [".git", ".gitattributes", "dir", "file"]
        assert (Path(folder.directory()) / "dir" / "big.bin").read_text() == BIG

    play(tmp_path, scene, variables=variables)
