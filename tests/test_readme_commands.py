"""Every command in README.md and docs/jobs.md, run as a reader would run it.

A block of shell is ```sh and a word on how it is run:

    ```sh           in one shell with the other plain blocks of its section, in their order
    ```sh exits=3   the same, and its exit code is that
    ```sh up        until the end of the section, in the background; so are serve and worker
    ```sh start     not, but what it names is there
    ```sh make      line by line in the checkout, for a shorter time than it says
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.installation import PATIENCE, Process

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "airunner", "docs/jobs.md": "Jobs"}  # each with its title
BIN = Path(sys.executable).parent
BLOCK = re.compile(r"^```sh ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAKE = f"make --old-file .venv/.installed BIN={BIN}"  # with this very installation
JSON = "--log-format json"
SHORTER = ("MINUTES=0.02", "BENCH=log", "DURATION=0.1", "ROUNDS=1")
LONG = ("test", "fuzz")  # whose parts are run by tests of their own


@dataclass(frozen=True, slots=True)
class Block:
    section: str
    how: str
    text: str


def blocks() -> Iterator[Block]:
    for page, head in PAGES.items():
        whole = (ROOT / page).read_text(encoding="utf-8")
        for part in re.split(r"^## ", f"{head}\n{whole}", flags=re.MULTILINE):
            title = part.splitlines()[0]
            for how, text in BLOCK.findall(part):
                yield Block(title, how, text)


def section(title: str) -> list[Block]:
    return [block for block in blocks() if block.section == title]


def background(title: str, how: str) -> str:
    (block,) = (block for block in section(title) if block.how == how)
    return block.text


def script(title: str) -> str:
    """The plain blocks of a section as one script."""
    lines = ["set -eu"]
    for block in section(title):
        if block.how.startswith("exits="):
            code = block.how.removeprefix("exits=")
            lines.append(f"code=0\n{block.text.strip()} || code=$?\n[ $code -eq {code} ]")
        elif not block.how:
            lines.append(block.text)
    return "\n".join(lines)


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """Of a user who has a home, and airunner on the path."""
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository with a branch main and the make targets that the jobs of the pages name."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "Makefile").write_text("check nightly:\n\t@echo made $@\n")

    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
        subprocess.run(["git", "-C", str(folder), *identity, *words], check=True)

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "Open the shop")
    return folder


@contextmanager
def running(text: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Process]:
    """The block in a shell of its own, until the end; its last command takes the shell's place."""
    *before, last = text.strip().replace("\\\n", " ").splitlines()
    lines = [
        "set -eu",
        *before,
        re.sub(r"\b(?=airunner (server|worker|up))", "exec ", last, count=1),
    ]
    popen = subprocess.Popen(
        ["bash", "-c", "\n".join(lines)],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    process = Process(popen)
    try:
        yield process
    finally:
        process.stop()


def shell(text: str, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """What the script prints, as lines; it must go well."""
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.splitlines()


def test_every_block_is_run_by_a_test_here() -> None:
    known = {
        "airunner": {""},
        "A tour": {"up", "", "exits=3"},
        "A server of its own, and workers elsewhere": {"serve", "worker", ""},
        "Backups and repairs": {""},
        "Without a server": {""},
        "Workers that live for one job": {"start"},
        "Working on it": {"make"},
        "Job files": {""},
        "Sources": {"up", ""},
        "Artifacts": {""},
    }
    assert {block.section for block in blocks()} == set(known)
    for block in blocks():
        assert block.how in known[block.section], block


def test_the_two_commands_of_a_fresh_machine_work(environment: Mapping[str, str]) -> None:
    (block,) = section("airunner")
    commands = [line.split("#")[0].strip() for line in block.text.splitlines()]
    assert commands == ["make demo", "make test"]
    said = shell(f"{MAKE} demo", ROOT, environment)
    assert "exit code 3" in said
    shell(f"{MAKE} --dry-run test", ROOT, environment)  # which runs this


def test_the_tour_goes_as_described(shop: Path, environment: Mapping[str, str]) -> None:
    up = background("A tour", "up").strip() + f" --listen 127.0.0.1:0 {JSON}"
    with running(up, shop, environment) as site:
        site.said("listening")
        site.said("connected")
        said = shell(script("A tour"), shop, environment)
    assert said[0] == "hello"
    assert said[1].endswith("Open the shop")
    assert "made check" in said
    assert "compiling receipts" in said
    assert "built" in said
    assert "never" not in said
    assert [line for line in said if line in ("one", "two")] == ["one", "two"] * 3
    assert "EXIT:0" in said
    assert any("no worker polls queue gpu" in line for line in said)
    assert any(re.match(r"whole: \d+ events, 8 bytes of output, sha256 ", line) for line in said)


def test_the_same_request_twice_is_one_job(shop: Path, environment: Mapping[str, str]) -> None:
    lines = [line for line in script("A tour").splitlines() if "--request-id" in line]
    assert len(lines) == 2
    with running(f"airunner up --listen 127.0.0.1:0 {JSON}", shop, environment) as site:
        site.said("connected")
        first, second = shell("\n".join(lines), shop, environment)
    assert first == second


def test_a_server_with_tokens_works_as_described(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    title = "A server of its own, and workers elsewhere"
    serve = background(title, "serve").strip().replace(":8443", ":0") + f" {JSON}"
    with running(serve, tmp_path, environment) as server:
        address = str(server.said("listening")["address"])
        tokens, client = (
            block.text.replace("127.0.0.1:8443", address)
            for block in section(title)
            if not block.how
        )
        shell(tokens, tmp_path, environment)
        worker = background(title, "worker").strip().replace("127.0.0.1:8443", address)
        with running(f"{worker} {JSON}", tmp_path, environment) as builder:
            builder.said("connected")
            assert len(shell(client, tmp_path, environment)) == 1


def test_backups_and_repairs_go_as_described(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    with running(f"airunner up --listen 127.0.0.1:0 {JSON}", tmp_path, environment) as site:
        site.said("connected")
        shell("airunner submit -- true", tmp_path, environment)
        said = shell(script("Backups and repairs"), tmp_path, environment)
    checked, saved = said
    assert checked.startswith("1 job, ")
    assert checked.endswith("sound")
    assert saved.startswith("1 job and ")


def test_sources_are_run_as_described(tmp_path: Path, environment: Mapping[str, str]) -> None:
    up = background("Sources", "up").strip() + f" --listen 127.0.0.1:0 {JSON}"
    with running(up, tmp_path, environment) as site:
        site.said("connected")
        said = shell(script("Sources"), tmp_path, environment)
    assert said == ["hello", "job.json", "list"]


def test_artifacts_are_fetched_as_described(tmp_path: Path, environment: Mapping[str, str]) -> None:
    with running(f"airunner up --listen 127.0.0.1:0 {JSON}", tmp_path, environment) as site:
        site.said("connected")
        assert shell(script("Job files"), tmp_path, environment) == ["built 1.2"]
        said = shell(script("Artifacts"), tmp_path, environment)
    assert said == ["SIZE  PATH", "5 B   dist/shop.txt"]
    assert (tmp_path / "built/dist/shop.txt").read_text() == "shop\n"


def test_a_run_without_a_server_goes_as_described(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    said = shell(script("Without a server"), tmp_path, environment)
    assert said[:2] == ["user=ada", "user=ada"]
    assert '  "status": "success",' in said


def test_workers_that_live_for_one_job_are_started_as_described(
    environment: Mapping[str, str],
) -> None:
    """What they do then is told by tests/end/test_ephemeral.py."""
    text = background("Workers that live for one job", "start")
    make, compose = (line.split("#")[0].strip() for line in text.splitlines())
    said = shell(f"{MAKE} --dry-run {make.removeprefix('make ')}", ROOT, environment)
    assert said[-1].endswith("honcho start -f Procfile.ephemeral -c server=1,worker=3")
    (service,) = re.findall(r"--scale (\w+)=", compose)
    assert service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def commands(title: str) -> list[str]:
    """The lines of the blocks that are run one by one."""
    lines = [line for block in section(title) for line in block.text.splitlines()]
    return [line.split("#")[0].strip() for line in lines]


@pytest.mark.parametrize("command", commands("Working on it"))
def test_the_developers_commands_work(environment: Mapping[str, str], command: str) -> None:
    assert command.split(maxsplit=1)[0] == "make"
    if any(word in command for word in LONG):
        shell(command.replace("make", f"{MAKE} --dry-run"), ROOT, environment)
        return
    names = [word for word in command.split()[1:] if "=" not in word]
    assert shell(" ".join([MAKE, *names, *SHORTER]), ROOT, environment)
