"""What a fresh machine relies on: the lock, the Makefile, the version, and what ARCHITECTURE.md says."""

import ast
import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airunner

ROOT = Path(__file__).parent.parent


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def wanted(group: str) -> list[Requirement]:
    """The requirements that pyproject.toml has: `run` for users, `dev` for developers."""
    table = tomllib.loads(text("pyproject.toml"))
    names = (
        table["project"]["dependencies"] if group == "run" else table["dependency-groups"][group]
    )
    return [Requirement(name) for name in names]


def locked() -> dict[str, str]:
    """The version of each package in the lock, by its canonical name."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text("requirements.lock"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def make(*arguments: str) -> str:
    """What make prints. It runs as at a terminal, not as a part of the make that runs us."""
    inherited = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
    clean = {name: value for name, value in os.environ.items() if name not in inherited}
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("group", ["run", "dev"])
def test_the_lock_has_every_dependency_at_a_version_that_is_wanted(group: str) -> None:
    pins = locked()
    for requirement in wanted(group):
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not locked: run make lock"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_every_locked_package_has_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", text("requirements.lock").strip())
    assert entries
    assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]


def test_every_dependency_is_imported_or_is_a_tool() -> None:
    """What nothing imports, nobody needs to install."""
    called = {
        "apsw": "apsw",
        "cryptography": "cryptography",
        "grpcio": "grpc",
        "grpcio-health-checking": "grpc_health",
        "grpcio-reflection": "grpc_reflection",
        "msgspec": "msgspec",
        "platformdirs": "platformdirs",
        "protobuf": "google",
        "pyjwt": "jwt",
        "pyyaml": "yaml",
        "rich": "rich",
        "sortedcontainers": "sortedcontainers",
        "structlog": "structlog",
        "typer": "typer",
    }
    imported = set()
    for path in (ROOT / "airunner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    assert {called[each.name] for each in wanted("run")} <= imported


def test_the_version_stands_in_one_place() -> None:
    assert "version" in tomllib.loads(text("pyproject.toml"))["project"]["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", airunner.__version__)


def test_the_changelog_has_a_section_for_this_version() -> None:
    assert re.search(
        rf"^## {re.escape(airunner.__version__)}\b", text("CHANGELOG.md"), re.MULTILINE
    )


def test_make_alone_prints_every_target_with_a_line() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", text("Makefile"), re.MULTILINE)
    assert phony
    printed = re.findall(r"^  make ([\w-]+) +\S", make(), re.MULTILINE)
    assert sorted(printed) == sorted(phony[1].split())


def test_an_old_python_is_told_what_is_wanted() -> None:
    assert re.search(r"version_info < \(3, 11\)", text("Makefile"))
    assert tomllib.loads(text("pyproject.toml"))["project"]["requires-python"] == ">=3.11"


def test_the_ci_script_can_be_run_and_runs_every_test_once() -> None:
    """`make cover` runs the tests that `make test-others` leaves out."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    called = re.findall(r"^make (\S+)$", script.read_text(encoding="utf-8"), re.MULTILINE)
    assert called == ["lint", "types", "cover", "test-others"]
    cover, others = make("--dry-run", "cover"), make("--dry-run", "test-others")
    core = re.findall(
        r" (tests/\S+?)(?:\*\.py)?(?= |$)", cover.split(" -m pytest ")[1], re.MULTILINE
    )
    assert core
    assert re.findall(r" --deselect=(\S+)", others) == core
    assert " tests " in others


def test_the_top_level_is_as_described() -> None:
    """ARCHITECTURE.md has a line for each folder of two levels, and none for a missing folder."""
    listed = subprocess.run(
        ["git", "ls-files", "airunner"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    parts = [name.split("/")[1:-1] for name in listed if not name.startswith("airunner/wire/job/")]
    folders = {folder for each in parts for folder in each[:2]}
    nested = {folder for each in parts for folder in each[2:]}
    described = set(re.findall(r"^ {6,}([a-z]+)/ ", text("ARCHITECTURE.md"), re.MULTILINE))
    if folders:  # in a checkout
        assert folders - nested <= described
        assert described <= folders


def test_every_dependency_has_its_reason() -> None:
    cells = re.findall(r"^\| ([^|]+) \|", text("ARCHITECTURE.md"), re.MULTILINE)
    named = {canonicalize_name(name.strip()) for cell in cells for name in cell.split(",")}
    assert {canonicalize_name(each.name) for each in [*wanted("run"), *wanted("dev")]} <= named
