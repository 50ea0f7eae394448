"""The JSON of job events.

The output of a job is cut into chunks at any byte. JobEventsJson moves the first bytes of a UTF-8
character that the next chunk of the stream continues into the object of that chunk, so that no
character is split over two objects. Bytes that are not UTF-8 stay where they are.
"""

import base64
from codecs import utf_8_decode
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from typing import Final

from msgspec import Struct

from airunner.model.artifacts import Artifact
from airunner.model.job_events import (
    JobEvent,
    JobEventBody,
    JobFinished,
    JobLeased,
    JobReturned,
    event_kind,
)
from airunner.model.jobs import Outcome
from airunner.model.proof.seal import Seal
from airunner.model.reports import (
    Output,
    OutputCut,
    ProcessEnded,
    StepEnded,
    StepStarted,
    Stream,
)
from airunner.model.repositories import redacted
from airunner.wire.json.artifacts import artifact_json
from airunner.wire.json.results import results_json
from airunner.wire.json.seals import seal_json
from airunner.wire.json.times import Json, show_instant

# Events after which a stream does not go on.
_ENDS: Final = (
    *(OutputCut, ProcessEnded, StepStarted, StepEnded),
    *(JobLeased, JobReturned, JobFinished),
)
# Fields with addresses of repositories, or with words of git.
_GIT_TEXTS: Final = ("repository", "message", "error", "stderr")
_SPANS: Final = ("duration", "elapsed")  # fields in milliseconds; their JSON names end in _ms


def event_json(event: JobEvent) -> Iterator[Json]:
    """Objects for an event: one for each chunk of output, a single object for any other event."""
    body = event.body
    head: Json = {"sequence": event.first, "attempt": event.attempt, "type": event_kind(body)}
    if not isinstance(body, Output):
        yield {**head, "timestamp": show_instant(event.at), **_members(body)}
        return
    for offset, chunk in enumerate(body.chunks):
        found: Json = {**head, "sequence": event.first + offset}
        found |= {"timestamp": show_instant(event.at), "written_at": show_instant(chunk.at)}
        found |= {"step": body.step, "stream": chunk.stream.value}
        yield found | _text(chunk.data)


class JobEventsJson:
    """The objects for the events of one job, which must come in order."""

    def __init__(self) -> None:
        self._begun: dict[Stream, tuple[Json, bytes]] = {}  # an object, and its bytes left out
        self._step: int | None = None

    def objects(self, event: JobEvent) -> Iterator[Json]:
        """As event_json(), after the objects of flush() if the event ends the streams."""
        body = event.body
        if isinstance(body, _ENDS) or (isinstance(body, Output) and body.step != self._step):
            yield from self.flush()
        if not isinstance(body, Output):
            yield from event_json(event)
            return
        self._step = body.step
        for chunk, found in zip(body.chunks, event_json(event), strict=True):
            _, begun = self._begun.pop(chunk.stream, ({}, b""))
            data = begun + chunk.data
            if (size := _unfinished_size(data)) or begun:
                found.pop("output_base64", None)
                found.update(_text(data[: len(data) - size]))
            if size:
                self._begun[chunk.stream] = found, data[-size:]
            yield found

    def flush(self) -> Iterator[Json]:
        """An object for each stream that has ended within a character, with the bytes of it.

        It has the sequence and the times of the chunk that the bytes came in.
        """
        begun, self._begun = self._begun, {}
        for found, data in begun.values():
            rest = {name: value for name, value in found.items() if name != "output_base64"}
            yield rest | _text(data)


def _text(data: bytes) -> Json:
    """Output as text, and as bytes too if it is not UTF-8."""
    try:
        return {"output": data.decode()}
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
        return {"output": text, "output_base64": base64.b64encode(data).decode()}


def _unfinished_size(data: bytes) -> int:
    """The number of bytes, 0 to 3, at the end of the data that begin a character."""
    for size in range(1, min(3, len(data)) + 1):
        if data[-size] & 0b1100_0000 != 0b1000_0000:  # not a continuation
            try:
                _, used = utf_8_decode(data[-size:], "strict", False)
            except UnicodeDecodeError:
                return 0
            return size if used == 0 else 0
    return 0


def _members(body: JobEventBody | Outcome) -> Json:
    """The fields of an event's body. The fields of an outcome or artifact are merged into them."""
    found: Json = {}
    for name in _field_names(body):
        value = getattr(body, name)
        if isinstance(value, Outcome):
            found |= _members(value)
        elif isinstance(value, Artifact):
            found |= artifact_json(value)
        elif name == "steps":
            found[name] = results_json(value)
        elif isinstance(value, Seal):
            found[name] = seal_json(value)
        elif name.endswith("_at"):
            found[name] = show_instant(value)
        elif name in _SPANS:
            found[f"{name}_ms"] = value
        else:
            found[name] = value.value if isinstance(value, Enum) else value
            if name in _GIT_TEXTS:
                found[name] = redacted(str(value))
    return found


def _field_names(body: JobEventBody | Outcome) -> tuple[str, ...]:
    if isinstance(body, Struct):
        return body.__struct_fields__
    return tuple(each.name for each in fields(body))
