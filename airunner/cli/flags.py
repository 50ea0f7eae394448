"""Flags of submit that need reading, and where each field of a job is told by a flag."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from airunner.cli.draft import Draft
from airunner.cli.exits import USAGE, CommandFailed
from airunner.units import parse_duration, parse_size

# Field on the wire -> the draft's field, and the flag.
_FLAGS: Final = {
    "command": ("command", "the command after --"),
    "args": ("args", "the arguments after --"),
    "queue": ("queue", "--queue"),
    "repository": ("repository", "the repository"),
    "commit": ("commit", "--commit"),
    "branch": ("branch", "--branch"),
    "git_clone.depth": ("depth", "--depth"),
    "working_directory": ("working_directory", "--working-directory"),
    "environment": ("environment", "--env"),
    "metadata": ("metadata", "--metadata"),
    "owner": ("owner", "--owner"),
    "terminal.columns": ("columns", "--columns"),
    "terminal.rows": ("rows", "--rows"),
    "timeout_seconds": ("timeout", "--timeout"),
    "queue_timeout_seconds": ("queue_timeout", "--queue-timeout"),
    "grace_seconds": ("grace", "--grace"),
    "attempts_max": ("attempts_max", "--attempts-max"),
    "output_bytes_max": ("output_bytes_max", "--output-bytes-max"),
}


def sources(flags: Draft) -> Draft:
    """The same draft, knowing which flag said each of its fields."""
    said = {
        wire: flag
        for wire, (name, flag) in _FLAGS.items()
        if getattr(flags, name) is not None and getattr(flags, name) != {}
    }
    return replace(flags, sources=said)


def duration(flag: str, text: str | None) -> int | None:
    """Seconds."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise CommandFailed(f"{flag}: {error}", USAGE) from None


def size(flag: str, text: str | None) -> int | None:
    """Bytes."""
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise CommandFailed(f"{flag}: {error}", USAGE) from None


def pairs(flag: str, texts: Sequence[str] | None) -> Mapping[str, str]:
    """NAME=VALUE, each."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandFailed(f"{flag}: {text!r} is not NAME=VALUE", USAGE)
        found[name] = value
    return found
