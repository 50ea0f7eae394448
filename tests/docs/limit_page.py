"""docs/limits.md: every limit with its value, the effect beyond it, and the flag that sets it."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airunner.model import limits
from airunner.model.units import show_count, show_size
from tests.docs.markers import ROOT

SOURCE: Final = Path(limits.__file__)
PACKAGE: Final = ROOT / "airunner"
DAY: Final = 86_400  # seconds
UNITS: Final = ("KIB", "MIB", "GIB")
HEAD: Final = """\
# Limits

Every limit of airunner. `make docs` generates this page from the comments in `{source}`, and
a test compares the two. The server checks each limit of a request: INVALID_ARGUMENT refuses one
field of one request, RESOURCE_EXHAUSTED a total that all requests share, and either message names
the limit. A flag is shown as the command that has it; no limit has an environment variable.
"""
OTHERS: Final = """\
## Limits inside one module

Bounds of one mechanism, which no flag sets.

| limit | value | meaning | module |
|---|---|---|---|
"""
_SECTION = re.compile(r"# == (?P<title>[^.]+)\. Beyond: (?P<beyond>.+) ==")
_CONSTANT = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*): Final = ")
_BOUND = re.compile(
    r"^(?P<name>[A-Z][A-Z0-9_]*_(?:MAX|MIN|KEPT))(?:: Final)? = [^#\n]*(?:  # (?P<meaning>.*))?$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    name: str
    meaning: str
    beyond: str
    flag: str  # "" if nothing sets it


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    limits: list[Limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A limit that stands in the module of its mechanism."""

    name: str
    meaning: str  # "" if its line has no comment
    value: object
    module: str


def limit_page() -> str:
    """The page, from the comments in limits.py and beside the bounds of other modules."""
    parts = [HEAD.format(source=SOURCE.relative_to(ROOT).as_posix())]
    for section in sections():
        rows = "".join(
            f"| `{each.name}` | {shown(each.name, getattr(limits, each.name))} | {each.meaning} "
            f"| {each.beyond} | {each.flag} |\n"
            for each in section.limits
        )
        head = "| limit | value | meaning | beyond it | flag |\n|---|---|---|---|---|\n"
        parts.append(f"## {section.title}\n\n{head}{rows}")
    rows = "".join(
        f"| `{each.name}` | {shown(each.name, each.value)} | {each.meaning} | {each.module} |\n"
        for each in bounds()
    )
    parts.append(OTHERS + rows)
    return "\n".join(parts)


def sections() -> list[Section]:
    """The limits of limits.py in their order, by section."""
    found: list[Section] = []
    comment, default = "", ""
    for line in SOURCE.read_text(encoding="utf-8").splitlines():
        if match := _SECTION.fullmatch(line):
            default, comment = match["beyond"], ""
            found.append(Section(match["title"], []))
        elif line.startswith("# "):
            comment += f" {line[2:]}"
        elif (match := _CONSTANT.match(line)) and match["name"] not in UNITS:
            found[-1].limits.append(_limit(match["name"], comment.strip(), default))
            comment = ""
    return found


def _limit(name: str, comment: str, default: str) -> Limit:
    rest, _, flag = comment.partition("Set by: ")
    meaning, _, beyond = rest.partition("Beyond: ")
    return Limit(
        name=name,
        meaning=meaning.strip().removesuffix("."),
        beyond=(beyond or default).strip().removesuffix("."),
        flag=flag.strip().removesuffix("."),
    )


def bounds() -> Iterator[Bound]:
    """Public constants of other modules that are named as limits: _MAX, _MIN, _KEPT."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if path == SOURCE or {"job", "bench"} & {*path.relative_to(PACKAGE).parts}:
            continue  # generated code, and sizes of measurements
        for match in _BOUND.finditer(path.read_text(encoding="utf-8")):
            module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
            yield Bound(
                name=match["name"],
                meaning=match["meaning"] or "",
                value=getattr(module, match["name"]),
                module=name,
            )


def shown(name: str, value: object) -> str:
    """A value with the unit that the name of its limit says."""
    assert isinstance(value, int | float)
    if "SECONDS" in name.split("_") and value >= DAY and value % DAY == 0:
        return f"{value:,} s ({show_count(int(value) // DAY, 'day')})"
    for word, unit in (("SECONDS", "s"), ("MILLIS", "ms"), ("CHARS", "characters")):
        if word in name.split("_"):
            return f"{value:,} {unit}".replace(".0 ", " ")
    if "BYTES" in name.split("_"):
        return show_size(int(value)).replace(".0 ", " ")
    return f"{value:,}"
