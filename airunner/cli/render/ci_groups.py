"""Markers around the output of each step, by which a CI system folds it.

    GitHub       ::group::NAME                              ::endgroup::
    GitLab       section_start:TIME:SECTION and NAME        section_end:TIME:SECTION
    Azure        ##[group]NAME                              ##[endgroup]
    Buildkite    --- NAME                                   none; ^^^ +++ unfolds what has failed
    TeamCity     ##teamcity[blockOpened name='NAME']        ##teamcity[blockClosed name='NAME']

Each system tells by a variable of its own that it is there; GitHub's form is used where none does.
A marker is one line, whatever a step is called: what would end the line, or be obeyed in it,
is escaped as the system wants it, or taken apart.
"""

import re
from collections.abc import Mapping
from typing import Final, Protocol

from airunner.cli.render.streams import printable
from airunner.model.jobs import Instant

_ESCAPED: Final = re.compile(r"['|\[\]]|[^\x20-\x7e]")  # in a value of a TeamCity message


class Markers(Protocol):
    """Lines without their ends. `section` has letters, digits and _ and is one step's alone."""

    def begin(self, section: str, name: str, at: Instant) -> str: ...

    def end(self, section: str, name: str, at: Instant, *, well: bool) -> str:
        """ "": the group needs no end, or ends by itself."""
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
        return f"##[group]{printable(name).replace('##', '# #')}"  # it looks for ##vso[ anywhere

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


# Variable that says which system it is -> its markers
_SYSTEMS: Final[Mapping[str, type[Markers]]] = {
    "GITLAB_CI": GitLab,
    "TF_BUILD": Azure,
    "BUILDKITE": Buildkite,
    "TEAMCITY_VERSION": TeamCity,
}


def markers(environment: Mapping[str, str]) -> Markers:
    """Those of the system that runs us."""
    system = next((each for name, each in _SYSTEMS.items() if environment.get(name)), GitHub)
    return system()
