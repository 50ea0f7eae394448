"""Archives of the golden data, and digests of jobs and streams to compare them by.

A golden value is compared as a subset: a later field with a default is no difference. Texts of more
than TEXT_MAX characters are replaced by their digests.
"""

import json
import lzma
import sqlite3
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from airunner.model.job_events import JobEvent, event_kind
from airunner.model.jobs import Job
from airunner.model.proof.proof import LogVerifier
from airunner.model.reports import Output, OutputCut

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json.xz"
TEXT_MAX = 100
LOG = "jobs.db"

Json = Any  # any JSON value


def expected() -> dict[str, Json]:
    """Expected values, which `make.py` recorded with the code of the golden commit."""
    found: dict[str, Json] = json.loads(lzma.decompress(EXPECTED.read_bytes()))
    return found


def unpack(name: str, folder: Path) -> None:
    """Extract the archive `server`, `spools` or `results` into a folder, named pipes included."""
    with tarfile.open(HERE / f"{name}.tar.xz") as packed:
        packed.extraction_filter = tarfile.tar_filter if hasattr(tarfile, "tar_filter") else None
        packed.extractall(folder)


def pack(name: str, folder: Path, *members: str) -> None:
    """Write an archive without user names and times."""

    def neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 1_700_000_000
        return member

    with tarfile.open(HERE / f"{name}.tar.xz", "w:xz", preset=9) as packed:
        for each in sorted(members):
            packed.add(folder / each, each, filter=neutral)


def plain(value: object) -> Json:
    """Any object of the model as JSON."""
    return _shortened(to_builtins(value))


def job_facts(job: Job) -> Json:
    """A replayed job as JSON. A finished job has lost the number of its last report."""
    facts = plain(job)
    return {**facts, "sent": 0} if job.state.final else facts


def stream_facts(entries: Iterable[JobEvent]) -> Json:
    """Digests of a job's whole stream, independent of how output and cuts are grouped."""
    proof, events, output = LogVerifier(), sha256(), sha256()
    count = size = cut = 0
    link = b""
    for each in entries:
        proof.add(each)
        for line, data in _lines(each):
            events.update(f"{line}\n".encode() + data)
            output.update(data)
            size += len(data)
        cut += each.body.size if isinstance(each.body, OutputCut) else 0
        count, link = each.last, each.link
    return {
        "count": count,
        "events": events.hexdigest(),
        "output": output.hexdigest(),
        "size": size,
        "cut": cut,
        "link": link.hex(),
        "verdict": type(proof.verdict()).__name__.lower(),
    }


def sequences(id: str, entry: JobEvent) -> Iterator[str]:
    """One line for each sequence of an entry: adjacent cuts may be joined, and compare equal."""
    for sequence in range(entry.first, entry.last + 1):
        yield f"{id} {sequence} {event_kind(entry.body)}"


def differences(golden: Json, found: Json, where: str = "") -> Iterator[str]:
    """Paths at which a golden value is missing or differs; added members are ignored."""
    if isinstance(golden, dict) and isinstance(found, dict):
        for name, value in golden.items():
            if name not in found:
                yield f"{where}.{name} is missing"
            else:
                yield from differences(value, found[name], f"{where}.{name}")
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        for index, (one, other) in enumerate(zip(golden, found, strict=True)):
            yield from differences(one, other, f"{where}[{index}]")
    elif golden != found:
        yield f"{where} is {found!r}, and was {golden!r}"


def records(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Raw records of the log's facts and reports, read from the file of format 1.

    The copy in this folder cannot be opened as a log afterwards: Python's SQLite writes pages
    without the checksums that a log has.
    """
    unpack("server", folder)
    with closing(sqlite3.connect(folder / LOG)) as connection:
        facts = connection.execute("SELECT record FROM facts ORDER BY place").fetchall()
        reports = connection.execute("SELECT record FROM reports ORDER BY place").fetchall()
    return [row[0] for row in facts], [row[0] for row in reports]


def tree(folder: Path) -> Mapping[str, str]:
    """Digests of all files below a folder, by path."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _lines(entry: JobEvent) -> Iterator[tuple[str, bytes]]:
    what = entry.body
    if isinstance(what, Output):
        for sequence, chunk in enumerate(what.chunks, entry.first):
            yield f"{sequence} {entry.attempt} {chunk.stream} {chunk.at} {what.step}", chunk.data
    elif isinstance(what, OutputCut):
        for sequence in range(entry.first, entry.last + 1):
            yield f"{sequence} {entry.attempt} cut", b""
    else:
        yield f"{entry.first} {entry.attempt} {entry.at} {event_kind(what)} {entry.link.hex()}", b""


def _shortened(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(each) for each in value]
    if isinstance(value, str) and len(value) > TEXT_MAX:
        return f"{len(value)} characters, {sha256(value.encode()).hexdigest()}"
    return value
