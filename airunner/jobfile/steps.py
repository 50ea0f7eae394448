"""The steps that a job file or a source's job.json says, as the values that YAML or JSON made.

    steps:
      - make
      - name: test
        run: make test
        environment: {CI: "true"}
        workingDirectory: src
        timeout: 10m
        continueOnError: true

What is wrong is said with its place: `steps[1].timeout`. YAML may give every scalar as the text that
was written, JSON gives numbers and booleans; both are understood.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from airunner.model.errors import InvalidRequest
from airunner.model.steps import Step, check_steps
from airunner.model.units import parse_duration

# Key of the file -> field of a Step
STEP_KEYS: Final[Mapping[str, str]] = {
    "name": "name",
    "run": "run",
    "environment": "environment",
    "workingDirectory": "working_directory",
    "timeout": "timeout_seconds",
    "continueOnError": "continue_on_error",
}
TRUE: Final = ("true", "yes", "on")  # as YAML writes it
FALSE: Final = ("false", "no", "off")
_WRITTEN: Final = {field: key for key, field in STEP_KEYS.items()}


def read_steps(said: object, place: str = "steps") -> tuple[Step, ...]:
    """The steps; InvalidRequest names the place of what is wrong."""
    if not isinstance(said, Sequence) or isinstance(said, str):
        raise InvalidRequest(place, "must be a list of shell commands, or of steps with `run`")
    steps = tuple(_step(each, f"{place}[{index}]") for index, each in enumerate(said))
    check_steps(place, steps)
    return steps


def suggestion(key: str, known: Sequence[str]) -> str:
    """The end of a sentence about a key that does not exist: the nearest, whatever its case."""
    by_letters = {each.lower(): each for each in known}
    letters = key.lower().replace("_", "").replace("-", "")
    if near := get_close_matches(letters, by_letters, n=1, cutoff=0.6):
        return f": did you mean {by_letters[near[0]]}?"
    return f"; it may have {', '.join(known)}"


def _step(said: object, place: str) -> Step:
    if isinstance(said, str):
        said = {"run": said}
    if not isinstance(said, Mapping):
        raise InvalidRequest(place, "must be a shell command, or a step with `run`")
    for key in said:
        if key not in STEP_KEYS:
            raise InvalidRequest(
                f"{place}.{key}",
                f"a step has no key {key!r}{suggestion(str(key), list(STEP_KEYS))}",
            )
    if said.get("run") is None:
        raise InvalidRequest(place, "has no `run`: say what to run")

    def text(key: str) -> str:
        value = said.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise InvalidRequest(f"{place}.{key}", "must be text")
        return value

    try:
        return Step(
            run=text("run"),
            name=text("name"),
            environment=_environment(said.get("environment"), f"{place}.environment"),
            working_directory=text("workingDirectory"),
            timeout_seconds=_seconds(said.get("timeout"), f"{place}.timeout"),
            continue_on_error=_flag(said.get("continueOnError"), f"{place}.continueOnError"),
        )
    except InvalidRequest as wrong:
        if wrong.field.startswith(place):
            raise
        raise InvalidRequest(f"{place}.{_WRITTEN[wrong.field]}", wrong.why) from None


def _environment(said: object, place: str) -> Mapping[str, str]:
    if said is None:
        return {}
    if not isinstance(said, Mapping):
        raise InvalidRequest(place, "must be names and values")
    for name, value in said.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidRequest(f"{place}.{name}", "must be text: write it in quotes")
    return dict(said)


def _seconds(said: object, place: str) -> int:
    if said is None:
        return 0
    if isinstance(said, int) and not isinstance(said, bool):
        return said
    try:
        return parse_duration(said if isinstance(said, str) else repr(said))
    except ValueError as error:
        raise InvalidRequest(place, str(error)) from None


def _flag(said: object, place: str) -> bool:
    if said is None or isinstance(said, bool):
        return bool(said)
    if isinstance(said, str) and said.lower() in (*TRUE, *FALSE):
        return said.lower() in TRUE
    raise InvalidRequest(place, "must be true or false")
