"""Workers that live for one job: from a Procfile, from a loop in a shell, and in containers."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end.test_crashes import alive
from tests.promises import holds
from tests.support.installation import Process, Site

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LOOP = str(ROOT / "configs" / "ephemeral.sh")
COMPOSE: Mapping[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def environment(home: Path) -> dict[str, str]:
    """Of a user who has airunner and honcho on the path."""
    return {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8"}


def workers_of(it: Site, ids: list[str]) -> list[str]:
    """Which worker ran each job, by its incarnation."""
    found = []
    for id in ids:
        assert it.run("monitor", id).returncode == 0
        attempts = it.show(id)["attempts"]
        assert isinstance(attempts, list)
        found += [each["worker"] for each in attempts]
    return found


# A loop in a shell


@pytest.fixture
def loop(own: Site) -> Iterator[Process]:
    """What restarts workers, with a process group of its own."""
    own.environment["PATH"] = environment(own.folder)["PATH"]
    popen = subprocess.Popen(
        ["sh", LOOP, "--log-format", "json", "--work-dir", "work", "--drain-timeout", "0"],
        env=own.environment,
        cwd=own.folder,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    process = Process(popen)
    try:
        process.said("connected")
        yield process
    finally:
        process.stop()


@holds("processes/jobs-max-is-exact")
def test_each_job_has_a_worker_of_its_own(own: Site, loop: Process) -> None:
    ids = [own.submit("--", "true") for _ in range(3)]
    found = workers_of(own, ids)
    assert len(set(found)) == 3
    assert {worker.rpartition(".")[0] for worker in found} == {socket.gethostname()}


@pytest.mark.parametrize("group", [False, True], ids=["alone", "with-its-group"])
def test_the_loop_ends_with_an_idle_worker(loop: Process, group: bool) -> None:
    tell(loop, signal.SIGTERM, group)
    assert loop.wait(20) == 0
    loop.said("stopped")


@holds("processes/jobs-max-is-exact")
@pytest.mark.parametrize("group", [False, True], ids=["alone", "with-its-group"])
def test_the_loop_ends_with_a_worker_that_gives_its_job_back(
    own: Site, loop: Process, group: bool
) -> None:
    id = own.submit("--", "sh", "-c", "echo ready; sleep 600")
    own.wait_for(id, "output")
    tell(loop, signal.SIGTERM, group)
    assert loop.wait(20) == 0
    loop.said("job_given_back", job=id)
    job = own.show(id)
    assert (job["state"], job["failures"]) == ("scheduled", 0)


def test_a_worker_drains_when_its_loop_is_killed(own: Site, loop: Process) -> None:
    id = own.submit("--", "sh", "-c", "echo ready; sleep 600")
    own.wait_for(id, "output")
    loop.signal(signal.SIGKILL)
    loop.said("job_given_back", job=id)
    loop.said("stopped")


def tell(loop: Process, number: signal.Signals, group: bool) -> None:
    """Send a signal, as one person does by hand or as a runner does."""
    (os.killpg if group else os.kill)(loop.pid, number)


# A Procfile


@pytest.fixture
def honcho(tmp_path: Path) -> Iterator[tuple[Process, Site]]:
    """Procfile.ephemeral with three workers, as honcho runs it, on a port of its own."""
    it = Site(tmp_path / "site")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (it.folder / "configs").symlink_to(ROOT / "configs")
    text = (ROOT / "Procfile.ephemeral").read_text().replace("localhost:8080", f"localhost:{port}")
    (it.folder / "Procfile.ephemeral").write_text(text)
    it.environment["AIRUNNER_SERVER"] = f"localhost:{port}"
    popen = subprocess.Popen(
        [str(BIN / "honcho"), *["start", "-f", "Procfile.ephemeral", "-c", "worker=3,server=1"]],
        env={**environment(it.folder / "home"), "PYTHONUNBUFFERED": "1"},
        cwd=it.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    process = Process(popen)
    try:
        yield process, it
    finally:
        process.stop()


@holds("processes/jobs-max-is-exact")
def test_a_procfile_runs_three_workers_each_for_one_job_and_ends_with_all_it_started(
    honcho: tuple[Process, Site],
) -> None:
    process, it = honcho
    first = it.run("submit", "--", "true")
    while first.returncode == 125:  # nobody listens yet
        first = it.run("submit", "--", "true")
    ids = [it.submit("--", "sh", "-c", "exit 0") for _ in range(6)]
    assert len(set(workers_of(it, ids))) == 6
    id = it.submit("--grace", "1", "--", "sh", "-c", "echo ready; sleep 600", "honcho-job")
    it.wait_for(id, "output")
    process.signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not alive("honcho-job")
    assert not alive(it.environment["AIRUNNER_SERVER"])


# Containers


def test_what_containers_run_works_as_it_is_written(tmp_path: Path) -> None:
    """The commands of compose.yaml, here, with the folders that its volumes are."""
    services = COMPOSE["services"]
    home = environment(tmp_path)
    for name in ("server", "worker", "client", "data"):
        (tmp_path / name).mkdir(mode=0o700)
    (script,) = services["setup"]["command"]
    subprocess.run(
        [*services["setup"]["entrypoint"], script.replace("$$", "$")],
        env=home,
        cwd=tmp_path,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert {path.name for path in (tmp_path / "worker").iterdir()} == {"ca.pem", "token"}
    it = Site(tmp_path / "site")
    it.folder = tmp_path
    it.environment |= services["client"]["environment"]
    try:
        words = [
            word.replace("0.0.0.0:8443", "127.0.0.1:0") for word in services["server"]["command"]
        ]
        server = it.start(*words, "--log-format", "json")
        address = str(server.said("listening")["address"])
        it.environment["AIRUNNER_SERVER"] = address
        words = [word.replace("server:8443", address) for word in services["worker"]["command"]]
        worker = it.start(*words, "--log-format", "json")
        done = it.run("submit", "--", "sh", "-c", "echo hello; exit 3")
        assert (done.returncode, done.stdout) == (3, b"hello\n")
        assert worker.wait() == 3
    finally:
        it.close()


def test_services_are_started_again_and_find_what_they_name() -> None:
    services, volumes = COMPOSE["services"], set(COMPOSE["volumes"])
    assert {name for name, it in services.items() if it.get("restart") == "always"} == {
        *("server", "worker")
    }
    for service in services.values():
        mounts = [mount.split(":") for mount in service["volumes"]]
        assert {mount[0] for mount in mounts} <= volumes
        made = re.search(r"mkdir --mode 0700 (.*)", (ROOT / "Containerfile").read_text())
        assert made
        assert {mount[1] for mount in mounts} <= {
            f"/home/airunner/{name}" for name in made[1].split()
        }
    assert "0.0.0.0:8443" in " ".join(services["server"]["command"])


def test_the_image_is_made_of_files_that_are_there() -> None:
    text = (ROOT / "Containerfile").read_text()
    copied = [
        name
        for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    assert copied
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
