"""Artifact patterns as people write them."""

from pathlib import Path

import pytest

from airunner.jobfile.draft import JobDraft
from airunner.jobfile.error import JobFileError
from airunner.jobfile.patterns import usable_patterns
from airunner.jobfile.reader import parse_job_file
from airunner.worker.workspace.results.patterns import Patterns


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("./dist", "/dist"),
        ("././dist/", "/dist/"),
        (".//dist/./app", "/dist/app"),
        ("a//b", "a/b"),
        ("dist/.", "dist/"),
        (".", "/*"),
        ("./", "/*"),
        ("/", "/*"),
        *((text, text) for text in ("dist", "/dist", "dist/", "**/x", ".git/HEAD", "...", r"\#x")),
        *((text, text) for text in ("a b ", r"a\ ", "*.xml", "..x/", "$HOME/x")),
    ],
)
def test_dots_and_empty_names_of_a_path_are_left_out(text: str, pattern: str) -> None:
    assert usable_patterns([text]) == (pattern,)
    assert usable_patterns(["x", f"!{text}"]) == ("x", f"!{pattern}")
    assert Patterns([pattern])


def test_a_path_with_a_dot_means_the_top_of_the_workspace() -> None:
    patterns = Patterns(usable_patterns(["./dist"]))
    assert patterns.match("dist/app")
    assert not patterns.match("modules/dist/app")
    assert Patterns(usable_patterns(["."])).match("any/where")


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["#x"], r"'#x' is a comment in a .gitignore: write '\#x' for a name that begins with #"),
        (["dist", "# dist"], "'# dist' is a comment"),
        (["!x"], "'!x' excludes from an empty selection: put an including pattern before it"),
        (["!x", "!y"], "'!x' excludes from an empty selection"),
    ],
)
def test_a_pattern_that_never_matches_is_refused_with_its_line(
    texts: list[str], sentence: str
) -> None:
    with pytest.raises(JobFileError) as caught:
        JobDraft(command="x", artifacts=tuple(texts), origins={"artifacts": "--artifact"}).spec()
    assert str(caught.value).startswith(f"--artifact: {sentence}")
    with pytest.raises(JobFileError, match=r"^job.yaml:2: artifacts: "):
        parse_job_file(f"command: x\nartifacts: {texts}\n", "job.yaml", Path("x")).spec()
