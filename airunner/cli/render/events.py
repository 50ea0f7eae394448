"""A job's events as JSON, and as remarks for whoever watches."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import fields
from enum import Enum
from typing import Final

from msgspec import Struct

from airunner.cli.render.streams import printable
from airunner.cli.render.times import Json, show_instant
from airunner.cli.render.work import results_json
from airunner.model.artifacts import Artifact
from airunner.model.job_events import (
    JobCancelRequested,
    JobEnqueued,
    JobEvent,
    JobEventBody,
    JobFinished,
    JobLeased,
    JobReturned,
    kind,
)
from airunner.model.jobs import AttemptEnd, Outcome
from airunner.model.proof.seal import Seal
from airunner.model.reports import (
    CloneEnded,
    CloneFailed,
    CloneProgressed,
    CloneStarted,
    Output,
    OutputCut,
    ProcessFailed,
    Remark,
)
from airunner.model.units import show_duration, show_size

_CLONE_LINES: Final = 5  # of git's own, the last of which says what was wrong
_SPANS: Final = ("duration", "elapsed")
_WHY_BACK: Final = {
    AttemptEnd.FINISHED: "the attempt is over",
    AttemptEnd.RELEASED: "its worker gave it back",
    AttemptEnd.LAPSED: "its worker was not heard of in time",
    AttemptEnd.LOST: "the attempt was lost with what ran it",
}


def entry_json(entry: JobEvent) -> Iterator[Json]:
    """An object for each sequence; one for a cut, which stands for several."""
    what = entry.what
    head = {"sequence": entry.first, "attempt": entry.attempt, "type": kind(what)}
    if isinstance(what, Output):
        for offset, chunk in enumerate(what.chunks):
            said: Json = {**head, "sequence": entry.first + offset}
            said |= {"timestamp": show_instant(entry.at), "written_at": show_instant(chunk.at)}
            said |= {"step": what.step, "stream": chunk.stream.value}
            try:
                said["output"] = chunk.data.decode()
            except UnicodeDecodeError:
                said["output"] = chunk.data.decode(errors="replace")
                said["output_base64"] = base64.b64encode(chunk.data).decode()
            yield said
        return
    yield {**head, "timestamp": show_instant(entry.at), **_members(what)}


def seal_json(seal: Seal) -> Json:
    return {**_members(seal), "digest": seal.digest.hex()}


def _members(what: JobEventBody | Outcome | Seal | Artifact) -> Json:
    found: Json = {}
    for name in _names(what):
        value = getattr(what, name)
        if isinstance(value, Outcome | Artifact):
            found |= _members(value)
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


def _names(what: JobEventBody | Outcome | Seal | Artifact) -> Sequence[str]:
    """Of its fields."""
    if isinstance(what, Struct):
        return what.__struct_fields__
    return [each.name for each in fields(what)]


def remark(what: JobEventBody) -> str | None:
    """What a person who watches wants to know of an entry; None: nothing."""
    match what:
        case JobReturned(end, failures):
            return f"back in line: {_WHY_BACK[end]} ({failures} failed so far)"
        case JobCancelRequested(by):
            return f"a cancel was requested by {printable(by)}" if by else "a cancel was requested"
        case CloneStarted(repository):
            return f"cloning {printable(repository)}"
        case CloneProgressed(message):
            return printable(message)
        case CloneEnded(commit, duration):
            return f"checked out {commit[:12]} in {show_duration(duration)}"
        case CloneFailed(error, stderr):
            lines = [printable(line) for line in stderr.splitlines() if line.strip()]
            return "the clone failed: " + "; ".join([printable(error), *lines[-_CLONE_LINES:]])
        case ProcessFailed(error):
            return printable(error)
        case Remark(message):
            return printable(message)
        case OutputCut(_, size):
            return f"{show_size(size)} of output were cut here: a limit was reached"
        case JobEnqueued() | JobLeased() | JobFinished():
            return None
        case _:
            return None


def last_line(what: CloneFailed | ProcessFailed) -> str:
    """The end of what remark() says of an error."""
    text = what.stderr or what.error if isinstance(what, CloneFailed) else what.error
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
