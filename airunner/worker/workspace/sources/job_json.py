"""The job.json at the top of a source, which holds steps and artifact patterns for a job.

    {
      "steps": ["make", {"name": "test", "run": "make test", "timeout": "10m"}],
      "artifacts": ["build/*.tar.gz", "!build/tmp/"]
    }

It is read if the job itself has no command, script or steps. A mistake in it raises SetupFailed
with its position, `job.json:3:14: ...`, if the text is not JSON, or else with its path,
`job.json: steps[1].timeout: ...`.
"""

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import structs

from airunner.jobfile.steps import read_steps, suggestion
from airunner.model.errors import InvalidRequest
from airunner.model.limits import JOB_FILE_BYTES_MAX
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.system.text_files import decode_text
from airunner.worker.workspace.sources.source_names import JOB
from airunner.worker.workspace.workspace import SetupFailed

KEYS: Final = ("steps", "artifacts")
_REMARKS: Final = 20  # on unknown keys, at most
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class JobJson:
    """The content of a job.json."""

    steps: tuple[Step, ...]
    artifacts: tuple[str, ...] = ()  # patterns
    remarks: tuple[str, ...] = ()  # sentences for the author of the file, about unknown keys


def read_job_json(source: int, spec: JobSpec) -> JobJson:
    """Reads the job.json of an open source for a job with this spec. Raises SetupFailed."""
    return parse_job_json(_read(source), spec)


def parse_job_json(data: bytes, spec: JobSpec) -> JobJson:
    """Parses the bytes of a job.json, within the limits of a job. Raises SetupFailed."""
    try:
        text = decode_text(data)
    except ValueError as error:
        raise SetupFailed(f"{JOB} {error}") from None
    parsed = _parse(text)
    if not isinstance(parsed, dict):
        raise SetupFailed(f'{JOB}:1:1: must be an object, as in {{"steps": ["make"]}}')
    if "steps" not in parsed:
        raise SetupFailed(f'{JOB} has no "steps": say what to run, as in {{"steps": ["make"]}}')
    try:
        steps = read_steps(parsed["steps"])
        artifacts = _patterns(parsed.get("artifacts"))
        structs.replace(spec, steps=steps, artifacts=artifacts)  # checks the limits of a job
    except InvalidRequest as wrong:
        raise SetupFailed(f"{JOB}: {wrong}") from None
    unknown = [key for key in parsed if key not in KEYS]
    remarks = [f"{JOB}: {_unknown(key)}" for key in unknown[:_REMARKS]]
    if len(unknown) > _REMARKS:
        remarks.append(f"{JOB}: {len(unknown) - _REMARKS:,} more keys are ignored")
    return JobJson(steps, artifacts, tuple(remarks))


def _read(source: int) -> bytes:
    try:
        file = os.open(JOB, _READ, dir_fd=source)
    except FileNotFoundError:
        raise SetupFailed(
            "the job has nothing to run: give it a command, a script or steps, "
            f'or put a {JOB} into its source, as in {{"steps": ["make"]}}'
        ) from None
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise SetupFailed(f"cannot read {JOB} of the source: {why}") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise SetupFailed(f"cannot read {JOB} of the source: it is no regular file")
        with os.fdopen(file, "rb", closefd=False) as opened:
            data = opened.read(JOB_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SetupFailed(f"cannot read {JOB} of the source: {error.strerror}") from None
    finally:
        os.close(file)
    if len(data) > JOB_FILE_BYTES_MAX:
        raise SetupFailed(f"{JOB} is larger than JOB_FILE_BYTES_MAX ({JOB_FILE_BYTES_MAX} bytes)")
    return data


def _parse(text: str) -> object:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        known = dict(pairs)
        if len(known) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise SetupFailed(f"{JOB}: the key {twice!r} is in an object more than once")
        return known

    def number(text: str) -> object:
        raise SetupFailed(f"{JOB}: {text} is not JSON: JSON has no such number")

    try:
        parsed: object = json.loads(text, object_pairs_hook=unique, parse_constant=number)
    except json.JSONDecodeError as error:
        raise SetupFailed(
            f"{JOB}:{error.lineno}:{error.colno}: this is not JSON: {error.msg}"
        ) from None
    except RecursionError:
        raise SetupFailed(f"{JOB} is nested too deeply") from None
    except ValueError as error:  # an integer with too many digits
        raise SetupFailed(f"{JOB}: {error}") from None
    return parsed


def _patterns(value: object) -> tuple[str, ...]:
    """The list of artifact patterns. Raises InvalidRequest."""
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidRequest("artifacts", "must be a list of patterns, as in .gitignore")
    patterns = [each for each in value if isinstance(each, str)]
    for index, each in enumerate(value):
        if not isinstance(each, str):
            raise InvalidRequest(f"artifacts[{index}]", "must be text")
    return tuple(patterns)


def _unknown(key: str) -> str:
    return f"a job.json has no key {key!r}, which is ignored{suggestion(key, KEYS)}"
