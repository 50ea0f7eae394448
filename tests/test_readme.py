"""README and docs, taken at their word: examples are read, tables compared, links followed."""

import re
from pathlib import Path

import pytest

from airunner.cli import exit_codes
from airunner.jobfile.reader import KEYS, parse_job_file
from airunner.jobfile.steps import STEP_KEYS
from airunner.model.spec import Checkout, Submodules
from airunner.server.policy import Role

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
JOBS = (ROOT / "docs/jobs.md").read_text(encoding="utf-8")
PAGES = (
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "certs/README.md"),
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)


def section(title: str, page: str = README) -> str:
    """The text of a section, up to the next of its height."""
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_exit_code_of_ours_is_in_the_table() -> None:
    ours = (
        exit_codes.TIMEOUT,
        exit_codes.OURS,
        exit_codes.NOT_EXECUTABLE,
        exit_codes.NOT_FOUND,
        exit_codes.INTERRUPTED,
    )
    told = {row[0] for row in rows("Exit codes")}
    assert told == {*map(str, ours), "0 to 255", "128 + n"}
    assert f"a wrong command line is {exit_codes.USAGE}." in README


def test_every_role_is_in_the_table() -> None:
    told = [row[0].strip("`") for row in rows("A server of its own, and workers elsewhere")]
    assert told == [str(role) for role in Role]


def test_the_job_files_are_some_and_have_every_key() -> None:
    texts = re.findall(
        r"^```yaml\n(.*?)^```$", section("Job files", JOBS), re.MULTILINE | re.DOTALL
    )
    command, steps, script, merged = (
        parse_job_file(each, "job.yaml", Path.cwd()).spec() for each in texts
    )
    assert command.command == "make"
    assert command.checkout == Checkout(
        submodules=Submodules.RECURSIVE, filter="blob:none", sparse=("src", "docs/api")
    )
    assert steps.steps
    assert [each.title for each in steps.steps] == ["make", "test", "./clean-up"]
    assert script.script == "cd src\nexec make check\n"
    assert merged.steps
    assert [(each.run, each.timeout_seconds) for each in merged.steps] == [
        ("make", 600),
        ("make test", 3600),
    ]
    keys = {key for each in texts for key in re.findall(r"^(\w+):", each, re.MULTILINE)}
    assert keys | {"commit", "container"} == set(KEYS)
    assert set(re.findall(r"^  [ -] (\w+):", texts[1], re.MULTILINE)) == set(STEP_KEYS)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / page).parent.joinpath(target).exists(), target
