"""Group markers around the output of a step."""

import pytest

from airunner.cli.render.ci_groups import (
    Azure,
    Buildkite,
    GitHub,
    GitLab,
    Markers,
    TeamCity,
    markers,
)
from airunner.model.jobs import Instant
from tests.promises import holds

AT = Instant(1_900_000_000_789)
SYSTEMS = (GitHub(), GitLab(), Azure(), Buildkite(), TeamCity())
NASTY = "100% ok\n::endgroup::\r\x1b[31m##vso[task.setvariable variable=x]y'|]\u2028\u0085é😀"


@pytest.mark.parametrize(
    ("system", "begin", "end"),
    [
        (GitHub(), "::group::make all", "::endgroup::"),
        (
            GitLab(),
            "\x1b[0Ksection_start:1900000000:step_0\r\x1b[0Kmake all",
            "\x1b[0Ksection_end:1900000000:step_0\r\x1b[0K",
        ),
        (Azure(), "##[group]make all", "##[endgroup]"),
        (Buildkite(), "--- make all", ""),
        (
            TeamCity(),
            "##teamcity[blockOpened name='make all']",
            "##teamcity[blockClosed name='make all']",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_system_gets_the_markers_that_it_knows(system: Markers, begin: str, end: str) -> None:
    assert system.begin("step_0", "make all", AT) == begin
    assert system.end("step_0", "make all", AT, well=True) == end


def test_buildkite_unfolds_what_has_failed() -> None:
    assert Buildkite().end("step_0", "make", AT, well=False) == "^^^ +++"


@pytest.mark.parametrize(
    ("variable", "system"),
    [
        ("GITHUB_ACTIONS", GitHub),
        ("GITLAB_CI", GitLab),
        ("TF_BUILD", Azure),
        ("BUILDKITE", Buildkite),
        ("TEAMCITY_VERSION", TeamCity),
        ("CI", GitHub),
    ],
)
def test_a_system_is_known_by_its_variable(variable: str, system: type) -> None:
    assert isinstance(markers({variable: "true"}), system)


@holds("logs/remarks-have-their-own-line")
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: type(system).__name__)
def test_no_name_breaks_out_of_its_marker(system: Markers) -> None:
    plain = system.begin("step_0", "", AT)
    said = system.begin("step_0", NASTY, AT)
    begin = plain.removesuffix("']")
    assert said.startswith(begin)
    assert said.removeprefix(begin).isprintable()
    assert "##vso" not in said.removeprefix(begin) or not isinstance(system, Azure)


def test_github_is_given_a_percent_sign_as_one() -> None:
    assert GitHub().begin("step_0", "50%0A", AT) == "::group::50%250A"


def test_teamcity_is_given_what_it_would_obey_escaped() -> None:
    said = TeamCity().begin("step_0", "a'b|c[d]é😀", AT)
    assert said == "##teamcity[blockOpened name='a|'b||c|[d|]|0x00e9|0xd83d|0xde00']"
