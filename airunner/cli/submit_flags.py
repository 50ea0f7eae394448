"""The flags of `airunner submit`: parsing, and the flag of each field of a job."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from airunner.cli.exit_codes import USAGE, CommandFailed
from airunner.cli.render.streams import note
from airunner.jobfile.draft import JobDraft
from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.spec import JobSpec, Submodules
from airunner.model.steps import Step
from airunner.model.units import parse_duration, parse_size
from airunner.system.text_files import decode_text, shell_text

# Field on the wire -> field of the draft, and the flag that sets it.
_FLAGS: Final = {
    "command": ("command", "the command after --"),
    "args": ("args", "the arguments after --"),
    "script": ("script", "--script"),
    "steps": ("steps", "--step"),
    "shell": ("shell", "--shell"),
    "name": ("name", "--name"),
    "queue": ("queue", "--queue"),
    "source": ("source", "--source"),
    "repository": ("repository", "the repository"),
    "commit": ("commit", "--commit"),
    "branch": ("branch", "--branch"),
    "git_clone.depth": ("depth", "--depth"),
    "git_clone.filter": ("filter", "--filter"),
    "git_clone.sparse": ("sparse", "--sparse"),
    "working_directory": ("working_directory", "--working-directory"),
    "artifacts": ("artifacts", "--artifact"),
    "environment": ("environment", "--env"),
    "metadata": ("metadata", "--metadata"),
    "owner": ("owner", "--owner"),
    "merge_stderr": ("merge_stderr", "--merge-stderr"),
    "strict": ("strict", "--strict"),
    "artifacts_on_cancel": ("artifacts_on_cancel", "--artifacts-on-cancel"),
    "terminal.columns": ("columns", "--columns"),
    "terminal.rows": ("rows", "--rows"),
    "timeout_seconds": ("timeout", "--timeout"),
    "queue_timeout_seconds": ("queue_timeout", "--queue-timeout"),
    "grace_seconds": ("grace", "--grace"),
    "attempts_max": ("attempts_max", "--attempts-max"),
    "output_bytes_max": ("output_bytes_max", "--output-bytes-max"),
}


_STDIN: Final = 0
_PIECE: Final = 64 * limits.KIB


def with_sources(flags: JobDraft) -> JobDraft:
    """The draft, with the flag that set each of its fields, for error messages."""
    flag_of = {
        wire: flag
        for wire, (name, flag) in _FLAGS.items()
        if getattr(flags, name) is not None and getattr(flags, name) != {}
    }
    return replace(flags, origins=flag_of)


def duration_seconds(flag: str, text: str | None) -> int | None:
    """A duration such as 90 or 10m, in seconds. Raises CommandFailed, which names the flag."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise CommandFailed(f"{flag}: {error}", USAGE) from None


def clones(no_checkout: bool, *options: object) -> bool | None:
    """Whether the repository is cloned, which any option of a clone asks for; None: as by default."""
    if no_checkout:
        return False
    return True if any(each is not None and each is not False for each in options) else None


def submodules_kind(flag: str, text: str | None) -> Submodules | None:
    """The submodules to fetch. Raises CommandFailed, which names the flag."""
    if text is not None and text not in list(Submodules):
        raise CommandFailed(f"{flag}: {text!r} is not none, true or recursive")
    return None if text is None else Submodules(text)


def size_bytes(flag: str, text: str | None) -> int | None:
    """A size such as 64MiB, in bytes. Raises CommandFailed, which names the flag."""
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise CommandFailed(f"{flag}: {error}", USAGE) from None


def name_values(flag: str, texts: Sequence[str] | None) -> Mapping[str, str]:
    """Parses NAME=VALUE texts."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandFailed(f"{flag}: {text!r} is not NAME=VALUE", USAGE)
        found[name] = value
    return found


def read_script(flag: str, text: str | None) -> str | None:
    """A script: the text of the flag, or standard input until its end if the text is `-`."""
    if text != "-":
        return None if text is None else shell_text(text)
    if os.isatty(_STDIN):
        note(f"{flag} reads this terminal: end the script with Ctrl-D on a line of its own")
    data = bytearray()
    try:
        while piece := os.read(_STDIN, _PIECE):
            data += piece
            if len(data) > limits.SCRIPT_BYTES_MAX:
                most = f"SCRIPT_BYTES_MAX ({limits.SCRIPT_BYTES_MAX} bytes)"
                raise CommandFailed(f"{flag}: standard input is longer than {most}")
        return shell_text(decode_text(data))
    except OSError as error:
        raise CommandFailed(f"{flag}: cannot read standard input: {error.strerror}") from None
    except ValueError as error:
        raise CommandFailed(f"{flag}: standard input {error}") from None


def check_patterns(spec: JobSpec, origin: str) -> None:
    """Raises CommandFailed, which names the origin, if a worker would refuse the artifact patterns."""
    if not spec.artifacts:
        return
    from airunner.worker.workspace.results.patterns import Patterns

    try:
        Patterns(spec.artifacts)
    except ValueError as error:
        raise CommandFailed(f"{origin}: {error}") from None


def steps(flag: str, texts: Sequence[str] | None) -> tuple[Step, ...] | None:
    """A step for each text."""
    return tuple(_step(flag, place, text) for place, text in enumerate(texts, 1)) if texts else None


def _step(flag: str, place: int, text: str) -> Step:
    try:
        return Step(run=shell_text(text))
    except InvalidRequest as error:
        raise CommandFailed(f"{flag}: step {place}: {error.why}", USAGE) from None
