"""Repositories and servers that mean harm: a clone runs nothing of them, asks nothing and ends."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from airunner.model.jobs import Outcome, Reason
from airunner.model.spec import Checkout, Submodules
from airunner.worker.attempt.execution import Execution
from airunner.worker.attempt.local_attempt import LocalAttempt
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.process import Deadline
from airunner.worker.workspace.git_clone import GitCloner
from airunner.worker.workspace.git_environment import git_environment
from airunner.worker.workspace.workspace import CheckoutFailed
from tests.worker.workspace.http_server import Silent, serve
from tests.worker.workspace.origins import commit, git, make_origin, text
from tests.worker.workspace.workbench import Bench, play
from tests.zoo import PATH

WHOLE: Final = Checkout(depth=0)
TOP: Final = Checkout(submodules=Submodules.TOP)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin")


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A path that a hostile command would create."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


def program(path: Path, marker: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\ntouch {marker}\n")
    path.chmod(0o755)


def blob(origin: Path, text: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(origin), "hash-object", "-w", "--stdin"],
        input=text,
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout.strip()


def tree(origin: Path, *entries: str) -> str:
    """A tree with entries that no checkout would ever add."""
    done = subprocess.run(
        ["git", "-C", str(origin), "mktree"],
        input="\n".join(entries),
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout.strip()


def point_main_at(origin: Path, top: str) -> None:
    made = git(origin, "commit-tree", "-m", "hostile", top)
    git(origin, "update-ref", "refs/heads/main", made)


class Asking(BaseHTTPRequestHandler):
    """Asks for a login, whatever is given."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Leading(BaseHTTPRequestHandler):
    """Leads every request to a repository of the worker's disks."""

    target = ""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", f"{self.target}{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_clone_runs_no_file_of_the_checkout(tmp_path: Path, origin: Path, marker: Path) -> None:
    """The worker's user has a configuration that runs files of the repositories that it works in."""
    (tmp_path / ".gitconfig").write_text(
        "[core]\n\thooksPath = .githooks\n\tfsmonitor = ./monitor\n[submodule]\n\trecurse = true\n"
        "[clone]\n\tdefaultRemoteName = other\n"
    )
    for hook in ("post-checkout", "post-merge", "reference-transaction", "post-index-change"):
        program(origin / ".githooks" / hook, marker)
    program(origin / "monitor", marker)
    (origin / ".gitattributes").write_text("* filter=evil ident diff=evil merge=evil\n")
    for name in ("--upload-pack=touch ran", "-rf", "A", "a", "$(touch ran)"):
        (origin / name).write_text("x")
    wanted = commit(origin, "hostile")
    git(origin, "update-ref", "refs/heads/--upload-pack=touch", wanted)

    async def scene(bench: Bench) -> None:
        every = Checkout(single_branch=False, submodules=Submodules.RECURSIVE)
        asked: list[dict[str, Any]] = [
            {},
            {"commit": wanted},
            {"commit": wanted[:8]},
            {"branch": "refs/heads/main"},
        ]
        for fields in asked:
            folder = await bench.fetch(repository=str(origin), checkout=every, **fields)
            assert text(folder) == "hostile"
            assert {"A", "a", "-rf"} <= set(os.listdir(folder.directory()))
            assert not list((Path(folder.directory()) / ".git").rglob("alternates"))
        await bench.refused(repository=str(origin), branch="refs/heads/--upload-pack=touch")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "settings",
    [
        "path = sub\n\turl = ext::sh -c touch% {marker}",
        "path = sub\n\turl = --upload-pack=touch {marker}",
        "path = sub\n\turl = ./sub\n\tupdate = !touch {marker}",
        "path = -u\n\turl = ./sub",
        "path = .git/hooks\n\turl = ./sub",
    ],
    ids=["ext", "option", "update", "path-option", "git-folder"],
)
def test_a_submodule_runs_no_command(
    tmp_path: Path, origin: Path, marker: Path, settings: str
) -> None:
    inner = make_origin(origin / "sub")
    program(inner / "post-checkout", marker)
    tip = commit(inner, "inner")
    path = settings.partition("path = ")[2].partition("\n")[0]
    modules = f'[submodule "sub"]\n\t{settings.format(marker=marker)}\n'
    entries = [f"100644 blob {blob(origin, modules)}\t.gitmodules"]
    top, _, below = path.rpartition("/")
    link = f"160000 commit {tip}\t{below}"
    entries.append(f"040000 tree {tree(origin, link)}\t{top}" if top else link)
    point_main_at(origin, tree(origin, *entries))

    async def scene(bench: Bench) -> None:
        why, said = await bench.refused(repository=str(origin), checkout=TOP)
        assert said
        if "ext::" in settings:
            assert "airunner clones https, http, ssh and git addresses alone" in why

    play(tmp_path, scene)


def test_a_submodule_names_no_repository_of_the_workers_disks(tmp_path: Path, origin: Path) -> None:
    """The repository is remote, and its .gitmodules names a path of the worker's machine."""
    secret = make_origin(tmp_path / "secret")
    (origin / "s").mkdir()
    (origin / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = {secret}\n')
    git(
        origin,
        "update-index",
        "--add",
        "--cacheinfo",
        f"160000,{git(secret, 'rev-parse', 'main')},s",
    )
    commit(origin, "with a submodule")
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(origin), str(bare))
    git(bare, "update-server-info")
    handler = partial(Silent, directory=str(tmp_path))

    async def scene(bench: Bench) -> None:
        checkout = Checkout(depth=0, submodules=Submodules.TOP)
        with serve(HTTPServer(("127.0.0.1", 0), handler)) as url:
            why, _ = await bench.refused(repository=f"{url}/bare.git", checkout=checkout)
        assert "--allow-local-repositories" in why

    play(tmp_path, scene, allow_local=False)


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".g\u200cit", ".."])
def test_no_entry_of_a_tree_is_written_into_the_git_folder_or_above(
    tmp_path: Path, origin: Path, name: str
) -> None:
    hook = blob(origin, "#!/bin/sh\n")
    inner = tree(origin, f"100755 blob {hook}\tescaped")
    point_main_at(origin, tree(origin, f"040000 tree {inner}\t{name}"))

    async def scene(bench: Bench) -> None:
        _, said = await bench.refused(repository=str(origin))
        assert "invalid path" in said
        assert not list(bench.root.rglob("escaped"))

    play(tmp_path, scene)


def test_no_file_is_written_through_a_link_of_the_repository(tmp_path: Path, origin: Path) -> None:
    """A tree has a link and a folder of one name."""
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = tree(origin, f"100644 blob {blob(origin, 'x')}\tescaped")
    link = f"120000 blob {blob(origin, str(outside))}\ta"
    point_main_at(origin, tree(origin, link, f"040000 tree {inner}\ta"))

    async def scene(bench: Bench) -> None:
        folder = bench.make(repository=str(origin))
        with suppress(CheckoutFailed):
            await folder.fetch(bench.report, Deadline())
        assert os.listdir(outside) == []

    play(tmp_path, scene)


def test_a_login_is_never_asked_for_and_the_error_says_so(tmp_path: Path, marker: Path) -> None:
    program(tmp_path / "askpass", marker)
    own = {
        "PATH": PATH,
        "HOME": str(tmp_path),
        "SSH_ASKPASS": f"{tmp_path}/askpass",
        "DISPLAY": ":0",
    }

    async def scene(bench: Bench) -> None:
        environment = git_environment(own, allow_local=False)
        bench.folders.cloner = GitCloner(
            bench.fixture.supervisor, bench.folders.clock, environment, allow_local=False
        )
        with serve(HTTPServer(("127.0.0.1", 0), Asking)) as url:
            for fields in ({}, {"commit": "0" * 40}, {"branch": "refs/pull/1/head"}):
                why, said = await bench.refused(repository=f"{url}/x.git", **fields)
                assert said.startswith("fatal: could not read Username")
                assert "give the worker's git a credential helper" in why

    play(tmp_path, scene, allow_local=False)


@pytest.mark.parametrize("scheme", ["file://", "ftp://127.0.0.1:1", "ext::cat "])
def test_a_redirect_leads_to_no_other_kind_of_address(
    tmp_path: Path, origin: Path, scheme: str
) -> None:
    handler = type("To", (Leading,), {"target": f"{scheme}{origin}/.git"})

    async def scene(bench: Bench) -> None:
        with serve(HTTPServer(("127.0.0.1", 0), handler)) as url:
            _, said = await bench.refused(repository=f"{url}/x", checkout=WHOLE)
        assert said

    play(tmp_path, scene)


@pytest.mark.parametrize("says", [b"", b"0032want", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_hangs_fails_the_set_up_at_its_limit(tmp_path: Path, says: bytes) -> None:
    """The server takes connections, sends a beginning at most, and never more."""

    async def scene(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            scheme = "http" if says.startswith(b"HTTP") else "git"
            url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x.git"
            attempt = LocalAttempt(bench.make(repository=url)._job, bench.report)
            runtime = Runtime(
                launcher=bench.fixture.supervisor,
                workspaces=bench.folders,
                clock=bench.folders.clock,
                log=bench.folders.log,
                setup_seconds=0.5,
            )
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(Execution(attempt, runtime).run())
                connection, _ = await loop.sock_accept(server)
                with connection:
                    await loop.sock_sendall(connection, says)
                    await running
            assert isinstance(attempt.verdict, Outcome)
            assert attempt.verdict.reason is Reason.SETUP_FAILED
            assert "set-up took longer than 0.5 s" in attempt.verdict.error
            assert "--setup-timeout" in attempt.verdict.error

    play(tmp_path, scene)


def test_a_repository_with_very_many_refs_is_cloned_and_listed_in_bounds(
    tmp_path: Path, origin: Path
) -> None:
    tip = git(origin, "rev-parse", "main")
    refs = [f"{tip} refs/heads/n{number:05}/{'x' * 100}" for number in range(20_000)]
    refs += [f"{tip} refs/pull/{number}/head" for number in range(20_000)]
    header = "# pack-refs with: peeled fully-peeled sorted \n"
    (origin / ".git" / "packed-refs").write_text(
        header + "\n".join(sorted(refs, key=by_name)) + "\n"
    )

    async def scene(bench: Bench) -> None:
        assert text(await bench.fetch(repository=str(origin))) == "three"
        assert text(await bench.fetch(repository=str(origin), branch="refs/pull/7/head")) == "three"
        why, said = await bench.refused(repository=str(origin), branch="missing")
        assert ", and more)" in why
        assert len(why.encode()) + len(said.encode()) < 8192

    play(tmp_path, scene)


def by_name(line: str) -> str:
    return line.partition(" ")[2]
