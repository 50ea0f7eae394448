"""`airunner artifacts` against a real server and a real worker."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import PATIENCE, Shell
from tests.cli.terminal import Terminal
from tests.promises import holds, promise
from tests.support.cutter import Cutter
from tests.support.proxy import proxy

MAKES = """
mkdir -p dist/deep
echo app > dist/app.whl
printf '#!/bin/sh\\necho run\\n' > dist/run.sh
chmod +x dist/run.sh
seq 600000 > dist/deep/large.txt
echo '<x/>' > report.xml
echo nobody asked for this > other.txt
"""
SIZES = {"dist/app.whl": 4, "dist/deep/large.txt": 4_088_895, "dist/run.sh": 19, "report.xml": 5}
LARGE_SHA256 = hashlib.sha256(b"".join(b"%d\n" % n for n in range(1, 600_001))).hexdigest()


@pytest.fixture(scope="module")
def job(embedded: Shell) -> str:
    """A finished job with artifacts."""
    wanted = ("--artifact", "dist/", "--artifact", "*.xml")
    done = embedded.run("submit", "--script", MAKES, *wanted)
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stderr.splitlines()
    id = first.split()[-1]
    assert last == f"airunner: kept 4 artifacts (3.9 MiB): `airunner artifacts {id}` lists them"
    return id


@pytest.fixture(scope="module")
def bare(embedded: Shell) -> str:
    """A finished job without artifacts."""
    id = embedded.submit("--", "true")
    embedded.run("monitor", id)
    return id


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_they_are_shown_by_path_with_their_sizes(embedded: Shell, job: str) -> None:
    done = embedded.run("artifacts", job)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "SIZE     PATH",
        "4 B      dist/app.whl",
        "3.9 MiB  dist/deep/large.txt",
        "19 B     dist/run.sh",
        "5 B      report.xml",
    ]
    assert embedded.run("artifacts", "show", job).stdout == done.stdout
    few = embedded.run("artifacts", job, "dist/*.whl", "/report.*")
    assert [line.split()[-1] for line in few.stdout.splitlines()[1:]] == [
        "dist/app.whl",
        "report.xml",
    ]


def test_a_path_with_a_dot_is_that_path(embedded: Shell) -> None:
    script = "mkdir -p dist sub/dist; touch dist/a sub/dist/b"
    done = embedded.run("submit", "--artifact", "./dist", "--script", script)
    assert done.returncode == 0, done.stderr
    id = done.stderr.split()[2]
    for pattern in ("./dist", "./dist/a", "."):
        shown = embedded.run("artifacts", id, pattern).stdout.splitlines()
        assert [line.split()[-1] for line in shown[1:]] == ["dist/a"]


def test_digests_are_shown_to_those_who_ask(embedded: Shell, job: str) -> None:
    assert LARGE_SHA256 in embedded.run("artifacts", job, "--long").stdout
    lines = embedded.run("artifacts", "--json", job).stdout.splitlines()
    found = {each["path"]: each for each in map(json.loads, lines)}
    assert {path: each["size"] for path, each in found.items()} == SIZES
    assert found["dist/deep/large.txt"]["sha256"] == LARGE_SHA256
    assert [path for path, each in found.items() if each["executable"]] == ["dist/run.sh"]


def test_all_are_fetched_as_they_were(embedded: Shell, job: str) -> None:
    done = embedded.run("artifacts", "get", job, "--output", "built/here")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "airunner: downloaded 4 artifacts (3.9 MiB) to built/here\n"
    folder = embedded.home / "built/here"
    assert {path: (folder / path).stat().st_size for path in below(folder)} == SIZES
    large = (folder / "dist/deep/large.txt").read_bytes()
    assert hashlib.sha256(large).hexdigest() == LARGE_SHA256
    assert os.access(folder / "dist/run.sh", os.X_OK)


def test_patterns_say_which(embedded: Shell, job: str) -> None:
    done = embedded.run("artifacts", "get", job, "dist/", "!*.txt", "--output", "some")
    assert done.returncode == 0
    assert below(embedded.home / "some") == {"dist/app.whl", "dist/run.sh"}


def test_what_is_there_is_replaced_only_if_that_is_asked_for(embedded: Shell, job: str) -> None:
    folder = embedded.home / "mine"
    folder.mkdir()
    (folder / "report.xml").write_text("mine")
    words = ("artifacts", "get", job, "--output", "mine")
    done = embedded.run(*words)
    assert done.returncode == 125
    assert done.stderr.startswith("airunner: mine/report.xml exists already")
    assert below(folder) == {"report.xml"}
    assert (folder / "report.xml").read_text() == "mine"
    assert embedded.run(*words, "--force").returncode == 0
    assert (folder / "report.xml").read_text() == "<x/>\n"


def test_what_was_fetched_before_is_not_fetched_again(embedded: Shell, job: str) -> None:
    words = ("artifacts", "get", job, "--output", "twice")
    assert embedded.run(*words).returncode == 0
    folder = embedded.home / "twice"
    (folder / "report.xml").unlink()
    inode = (folder / "dist/run.sh").stat().st_ino
    done = embedded.run(*words)
    assert done.returncode == 0
    assert "downloaded 1 artifact " in done.stderr
    assert f"{len(SIZES) - 1} of {len(SIZES)} existed already" in done.stderr
    assert (folder / "dist/run.sh").stat().st_ino == inode
    assert {path: (folder / path).stat().st_size for path in below(folder)} == SIZES


def test_nothing_to_fetch_is_1(embedded: Shell, job: str, bare: str) -> None:
    done = embedded.run("artifacts", "get", job, "*.nope", "--output", "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no artifact of job" in done.stderr
    done = embedded.run("artifacts", "get", bare, "--output", "none")
    assert done.returncode == 1
    assert done.stderr == f"airunner: the server keeps no artifacts of job {bare}\n"
    assert not (embedded.home / "none").exists()
    assert embedded.run("artifacts", bare).returncode == 0


def test_a_pattern_that_means_nothing_is_wrong_usage(embedded: Shell, job: str) -> None:
    done = embedded.run("artifacts", "get", job, "# all")
    assert done.returncode == 2
    assert "'# all' is a comment in a .gitignore" in done.stderr


def test_an_unknown_job_is_125(embedded: Shell) -> None:
    for words in (("artifacts", "nope"), ("artifacts", "get", "nope")):
        done = embedded.run(*words)
        assert done.returncode == 125
        assert done.stderr.startswith("airunner: no job nope")


@promise(
    "results/fetch-is-whole-or-nothing",
    "`artifacts get` writes a file whole, as it was stored, or not at all. It writes only below "
    "the named folder, continues over lost connections, and replaces a file only on request.",
)
def test_a_fetch_survives_a_cut_connection(embedded: Shell, job: str) -> None:
    with Cutter(embedded.server, after=1_000_000) as cutter:
        said = ("--server", cutter.address, *embedded.trust)
        done = embedded.run("artifacts", "get", job, "--output", "cut", *said)
        assert cutter.has_cut
    assert done.returncode == 0
    again, fetched = done.stderr.splitlines()
    assert again.endswith("; trying again")
    assert fetched == "airunner: downloaded 4 artifacts (3.9 MiB) to cut"
    large = (embedded.home / "cut/dist/deep/large.txt").read_bytes()
    assert hashlib.sha256(large).hexdigest() == LARGE_SHA256


@holds("results/fetch-is-whole-or-nothing")
def test_ctrl_c_leaves_no_half_of_a_file(embedded: Shell, job: str) -> None:
    with proxy(embedded.server) as network:
        network.silence_after(1_000_000)
        said = ("--server", network.address, *embedded.trust)
        get = ("artifacts", "get", job, "large.txt", "--output", "stopped")
        terminal = Terminal(embedded, *get, *said)
        assert network.silent.wait(PATIENCE)
        terminal.until("/3.9 MiB")
        terminal.send("\x03")
        assert terminal.wait() == 130
    assert below(embedded.home / "stopped") == set()


@holds("results/fetch-is-whole-or-nothing")
def test_sigterm_leaves_no_half_of_a_file(embedded: Shell, job: str) -> None:
    with proxy(embedded.server) as network:
        network.silence_after(1_000_000)
        said = ("--server", network.address, *embedded.trust)
        get = ("artifacts", "get", job, "large.txt", "--output", "ended")
        process = embedded.start(*get, *said)
        assert network.silent.wait(PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert below(embedded.home / "ended") == set()


def test_a_terminal_sees_a_bar_that_is_gone_at_the_end(embedded: Shell, job: str) -> None:
    terminal = Terminal(embedded, "artifacts", "get", job, "--output", "seen")
    assert terminal.wait() == 0
    assert "/3.9 MiB" in terminal.text
    last = terminal.text.rpartition("\x1b[2K")[2]
    assert last == "airunner: downloaded 4 artifacts (3.9 MiB) to seen\r\n"
