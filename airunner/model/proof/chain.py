"""The hash chain over the events of a job. Its last link is the digest of the job's seal.

Each link is the SHA-256 of the previous link and of one sequence: number, attempt, time
and body. So a changed byte, a changed event or a changed order changes every later link.
The server stores the link of each event, so a reader whose chain differs can tell where
the difference begins.

    link = SHA-256(previous link, head, "\\n", data)

`head` is a JSON list, in UTF-8 and without spaces: the sequence, the attempt, the server's time
in ms since the epoch, the kind of event (job_events.event_kind()), then the fields of the event
in their order. Trailing fields with default values are left out, so that a field that is added
later does not change an old chain. A field with fields of its own is a list of them, made in
the same way.

Output takes one sequence for each chunk. Its fields are the chunk's stream, time and size, and
in a job of steps the index of the step. `data` is the bytes of the chunk; no other event has data.

A cut (OutputCut) has no link, because the log does not hold the output that it stands for. The
sequences of the following events show how many sequences it takes, and the seal how many bytes.
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


def next_link(previous: Link, event: JobEvent) -> Link:
    """The link of a complete event; `previous` is the link of the event before it."""
    match event.body:
        case OutputCut():
            return previous
        case Output(chunks, step):
            index = () if step is None else (step,)
            for sequence, chunk in enumerate(chunks, event.first):
                values = (chunk.stream, chunk.at, len(chunk.data), *index)
                digest = sha256(previous + _head(event, sequence, values))
                digest.update(chunk.data)
                previous = Link(digest.digest())
            return previous
        case JobFinished(state, outcome):
            head = _head(event, event.first, (state, *_values(outcome)))
            return Link(sha256(previous + head).digest())
        case body:
            return Link(sha256(previous + _head(event, event.first, _values(body))).digest())


def _head(event: JobEvent, sequence: int, values: tuple[Any, ...]) -> bytes:  # Any: a JSON value
    head = [sequence, event.attempt, event.at, event_kind(event.body), *values]
    return encode(head) + b"\n"


def _values(body: JobEventBody | Outcome) -> tuple[Any, ...]:  # Any: a JSON value
    """The values of the fields, without trailing default values."""
    read, defaults, plain = _fields(type(body))  # type: ignore[arg-type]  # mypy thinks that a class has no hash
    values = read(body)
    end = len(values)
    while end and values[end - 1] == defaults[end - 1]:
        end -= 1
    return values[:end] if end <= plain else tuple(map(_plain, values[:end]))


def _plain(value: object) -> object:
    """A value as JSON has it: a Struct becomes the list of its values."""
    if isinstance(value, Struct):
        return _values(value)  # type: ignore[arg-type]  # a part of an event's body
    return list(map(_plain, value)) if isinstance(value, tuple) else value


@cache
def _fields(
    kind: type[JobEventBody | Outcome],
) -> tuple[Callable[[Any], tuple[Any, ...]], Sequence[object], int]:  # Any: a `kind`; JSON values
    """A getter of a class's field values, their defaults, and the number of leading plain fields.

    A plain field has no fields of its own. The default of a field without a default is MISSING
    or NODEFAULT, which equals no value of a field.
    """
    if issubclass(kind, Struct):
        members = structs.fields(kind)
        plain = len(list(takewhile(lambda each: not _has_fields(each.type), members)))
        return structs.astuple, [field.default for field in members], plain
    known = fields(kind)
    return (
        lambda body: tuple(getattr(body, field.name) for field in known),
        [field.default for field in known],
        len(known),
    )


def _has_fields(type_: Any) -> bool:  # Any: a type annotation
    """Tells whether a value of this type may be a Struct or contain one."""
    kinds = (type_, *get_args(type_))
    return any(isinstance(each, type) and issubclass(each, Struct) for each in kinds)
