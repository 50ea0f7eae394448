"""The chain of digests through a job's events, which its seal ends.

Each link is the SHA-256 of the link before it and of one sequence: its number, its
attempt, its time, and what happened. So neither a byte, nor an event, nor their order can
change without changing every link from there on. A server keeps the link of every event, so
that a reader whose chain differs can say where that begins.

    link = SHA-256(link before, head, "\\n", data)

`head` is a JSON list, in UTF-8 and without spaces: the sequence, the attempt, the server's time
in ms since the epoch, the kind of event as entries.kind() names it, and then its fields in their
order. Fields that stand at their defaults are left out from the end of the list, so that a field
that is added later does not change an old chain; a field that has fields of its own is a list of
them, made in the same way.

Output takes a sequence for each chunk. Its fields are the chunk's stream, its time, its size, and
in a job of steps the index of its step; `data` is its bytes, which nothing else has.

A cut has no link: it stands for what is not there. How many sequences it takes shows in the
numbers of those that follow, and how many bytes in the seal.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from hashlib import sha256
from itertools import takewhile
from typing import Any, get_args

from msgspec import Struct, structs
from msgspec.json import encode

from airunner.model.job_events import JobEvent, JobEventBody, JobFinished, event_kind
from airunner.model.jobs import Outcome
from airunner.model.proof.seal import Link
from airunner.model.reports import Output, OutputCut


def next_link(before: Link, entry: JobEvent) -> Link:
    """The link of an entry that is whole: `before` is that of the one before it."""
    match entry.body:
        case OutputCut():
            return before
        case Output(chunks, step):
            of = () if step is None else (step,)
            for sequence, chunk in enumerate(chunks, entry.first):
                said = (chunk.stream, chunk.at, len(chunk.data), *of)
                digest = sha256(before + _head(entry, sequence, said))
                digest.update(chunk.data)
                before = Link(digest.digest())
            return before
        case JobFinished(state, outcome):
            return Link(
                sha256(before + _head(entry, entry.first, (state, *_said(outcome)))).digest()
            )
        case what:
            return Link(sha256(before + _head(entry, entry.first, _said(what))).digest())


def _head(entry: JobEvent, sequence: int, said: tuple[Any, ...]) -> bytes:  # Any: whatever JSON has
    head = [sequence, entry.attempt, entry.at, event_kind(entry.body), *said]
    return encode(head) + b"\n"


def _said(what: JobEventBody | Outcome) -> tuple[Any, ...]:  # Any: as above
    """The values of its fields, without those at the end that are at their defaults."""
    values, defaults, plain = _fields(type(what))  # type: ignore[arg-type]  # mypy thinks that a class has no hash
    said = values(what)
    end = len(said)
    while end and said[end - 1] == defaults[end - 1]:
        end -= 1
    return said[:end] if end <= plain else tuple(map(_plain, said[:end]))


def _plain(value: object) -> object:
    if isinstance(value, Struct):
        return _said(value)  # type: ignore[arg-type]  # a part of what happened
    return list(map(_plain, value)) if isinstance(value, tuple) else value


@cache
def _fields(
    kind: type[JobEventBody | Outcome],
) -> tuple[Callable[[Any], tuple[Any, ...]], Sequence[object], int]:  # Any: of this kind; as above
    """What gives the values of its fields, their defaults, and how many have no fields of their own.

    The default of a field without is MISSING or NODEFAULT, which is no field's value. Of those
    without fields are counted the ones before the first that has some.
    """
    if issubclass(kind, Struct):
        made = structs.fields(kind)
        plain = len(list(takewhile(lambda each: not _has_fields(each.type), made)))
        return structs.astuple, [field.default for field in made], plain
    known = fields(kind)
    return (
        lambda what: tuple(getattr(what, field.name) for field in known),
        [field.default for field in known],
        len(known),
    )


def _has_fields(type_: Any) -> bool:  # Any: as an annotation says it
    kinds = (type_, *get_args(type_))
    return any(isinstance(each, type) and issubclass(each, Struct) for each in kinds)
