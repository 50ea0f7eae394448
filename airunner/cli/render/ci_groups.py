"""Group markers: a CI system folds the lines between the two markers of a step.

    GitHub       ::group::NAME                              ::endgroup::
    GitLab       section_start:TIME:SECTION and NAME        section_end:TIME:SECTION
    Azure        ##[group]NAME                              ##[endgroup]
    Buildkite    --- NAME                                   none; ^^^ +++ unfolds a failed step
    TeamCity     ##teamcity[blockOpened name='NAME']        ##teamcity[blockClosed name='NAME']

Each CI system sets an environment variable of its own; without any, GitHub's markers are used. The
name of a step cannot break its marker: characters that would end the line, or that the CI system
would obey, are escaped or separated.
"""

import re
from collections.abc import Mapping
from typing import Final, Protocol

from airunner.cli.render.terminal_text import printable
from airunner.model.jobs import Instant

_ESCAPED: Final = re.compile(r"['|\[\]]|[^\x20-\x7e]")  # in the value of a TeamCity message


class Markers(Protocol):
    """The markers of a CI system: lines without a newline.

    `section` identifies a step and has letters, digits and _ only.
    """

    def begin(self, section: str, name: str, at: Instant) -> str: ...

    def end(self, section: str, name: str, at: Instant, *, well: bool) -> str:
        """The marker at the end of a group, or "" if the CI system has none."""
        ...


class GitHub:
    def begin(self, section: str, name: str, at: Instant) -> str:
        return f"::group::{printable(name).replace('%', '%25')}"

    def end(self, section: str, name: str, at: Instant, *, well: bool) -> str:
        return "::endgroup::"


class GitLab:
    def begin(self, section: str, name: str, at: Instant) -> str:
        return f"\x1b[0Ksection_start:{at // 1000}:{section}\r\x1b[0K{printable(name)}"

    def end(self, section: str, name: str, at: Instant, *, well: bool) -> str:
        return f"\x1b[0Ksection_end:{at // 1000}:{section}\r\x1b[0K"


class Azure:
    def begin(self, section: str, name: str, at: Instant) -> str:
        return f"##[group]{printable(name).replace('##', '# #')}"  # Azure obeys ##vso[ anywhere

    def end(self, section: str, name: str, at: Instant, *, well: bool) -> str:
        return "##[endgroup]"


class Buildkite:
    def begin(self, section: str, name: str, at: Instant) -> str:
        return f"--- {printable(name)}"

    def end(self, section: str, name: str, at: Instant, *, well: bool) -> str:
        return "" if well else "^^^ +++"


class TeamCity:
    def begin(self, section: str, name: str, at: Instant) -> str:
        return f"##teamcity[blockOpened name='{_escaped(name)}']"

    def end(self, section: str, name: str, at: Instant, *, well: bool) -> str:
        return f"##teamcity[blockClosed name='{_escaped(name)}']"


def _escaped(name: str) -> str:
    return _ESCAPED.sub(lambda found: _escape(found[0]), printable(name))


def _escape(character: str) -> str:
    if character in "'|[]":
        return f"|{character}"
    units = character.encode("utf-16-be").hex()
    return "".join(f"|0x{units[at : at + 4]}" for at in range(0, len(units), 4))


# Environment variable of a CI system -> its markers
_SYSTEMS: Final[Mapping[str, type[Markers]]] = {
    "GITLAB_CI": GitLab,
    "TF_BUILD": Azure,
    "BUILDKITE": Buildkite,
    "TEAMCITY_VERSION": TeamCity,
}


def markers(environment: Mapping[str, str]) -> Markers:
    """The markers of the CI system that runs this process."""
    system = next((each for name, each in _SYSTEMS.items() if environment.get(name)), GitHub)
    return system()
