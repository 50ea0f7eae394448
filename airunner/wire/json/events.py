"""The JSON of job events."""

import base64
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from typing import Final

from msgspec import Struct

from airunner.model.artifacts import Artifact
from airunner.model.job_events import JobEvent, JobEventBody, event_kind
from airunner.model.jobs import Outcome
from airunner.model.proof.seal import Seal
from airunner.model.reports import Output
from airunner.wire.json.artifacts import artifact_json
from airunner.wire.json.results import results_json
from airunner.wire.json.seals import seal_json
from airunner.wire.json.times import Json, show_instant

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
        try:
            found["output"] = chunk.data.decode()
        except UnicodeDecodeError:
            found["output"] = chunk.data.decode(errors="replace")
            found["output_base64"] = base64.b64encode(chunk.data).decode()
        yield found


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
    return found


def _field_names(body: JobEventBody | Outcome) -> tuple[str, ...]:
    if isinstance(body, Struct):
        return body.__struct_fields__
    return tuple(each.name for each in fields(body))
