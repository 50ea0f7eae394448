"""Reads the steps of a job file or of a source's job.json from parsed YAML or JSON values.

    steps:
      - make
      - name: test
        run: make test
        environment: {CI: "true"}
        workingDirectory: src
        timeout: 10m
        continueOnError: true
      - run: ./clean-up
        when: always

An error names its place: `steps[1].timeout`. The YAML reader gives every scalar as its text, JSON
gives numbers and booleans; both are accepted.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from airunner.model.errors import InvalidRequest
from airunner.model.steps import Step, check_steps, read_condition
from airunner.model.units import parse_duration
from airunner.system.text_files import shell_text

# Key of the file -> field of a Step
STEP_KEYS: Final[Mapping[str, str]] = {
    "name": "name",
    "run": "run",
    "environment": "environment",
    "workingDirectory": "working_directory",
    "timeout": "timeout_seconds",
    "continueOnError": "continue_on_error",
    "when": "when",
    "background": "background",
}
TRUE: Final = ("true", "yes", "on")  # the true values of YAML, in lower case
FALSE: Final = ("false", "no", "off")
_SIMILAR_CHARS_MAX: Final = 64  # of a key that may be a misspelling; a comparison takes its time
_KEYS: Final = {field: key for key, field in STEP_KEYS.items()}


def read_steps(value: object, place: str = "steps") -> tuple[Step, ...]:
    """Read a list of steps. InvalidRequest names the place of the error."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidRequest(place, "must be a list of shell commands, or of steps with `run`")
    steps = tuple(_step(each, f"{place}[{index}]") for index, each in enumerate(value))
    check_steps(place, steps)
    return steps


def suggestion(key: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown key: the most similar known key, ignoring case."""
    if len(key) > _SIMILAR_CHARS_MAX:
        return f"; it may have {', '.join(known)}"
    by_letters = {each.lower(): each for each in known}
    letters = key.lower().replace("_", "").replace("-", "")
    if near := get_close_matches(letters, by_letters, n=1, cutoff=0.6):
        return f": did you mean {by_letters[near[0]]}?"
    return f"; it may have {', '.join(known)}"


def _step(value: object, place: str) -> Step:
    step = {"run": value} if isinstance(value, str) else value
    if not isinstance(step, Mapping):
        raise InvalidRequest(place, "must be a shell command, or a step with `run`")
    for key in step:
        if key not in STEP_KEYS:
            raise InvalidRequest(
                f"{place}.{key}",
                f"a step has no key {key!r}{suggestion(str(key), list(STEP_KEYS))}",
            )
    if step.get("run") is None:
        raise InvalidRequest(place, "has no `run`: say what to run")

    def text(key: str) -> str:
        item = step.get(key)
        if item is None:
            return ""
        if not isinstance(item, str):
            raise InvalidRequest(f"{place}.{key}", "must be text")
        return item

    try:
        return Step(
            run=shell_text(text("run")),
            name=text("name"),
            environment=_environment(step.get("environment"), f"{place}.environment"),
            working_directory=text("workingDirectory"),
            timeout_seconds=_seconds(step.get("timeout"), f"{place}.timeout"),
            continue_on_error=_flag(step.get("continueOnError"), f"{place}.continueOnError"),
            when=read_condition(f"{place}.when", text("when")),
            background=_flag(step.get("background"), f"{place}.background"),
        )
    except InvalidRequest as error:
        if error.field.startswith(place):
            raise
        raise InvalidRequest(f"{place}.{_KEYS[error.field]}", error.why) from None


def _environment(variables: object, place: str) -> Mapping[str, str]:
    if variables is None:
        return {}
    if not isinstance(variables, Mapping):
        raise InvalidRequest(place, "must be names and values")
    for name, value in variables.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidRequest(f"{place}.{name}", "must be text: write it in quotes")
    return dict(variables)


def _seconds(value: object, place: str) -> int:
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return parse_duration(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        raise InvalidRequest(place, str(error)) from None


def _flag(value: object, place: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in (*TRUE, *FALSE):
        return value.lower() in TRUE
    raise InvalidRequest(place, "must be true or false")
