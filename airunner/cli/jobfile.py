"""Job files: YAML (and so JSON) to a Draft.

    command: make
    args: [test]
    timeout: 10m
    environment: {CI: "true"}
    gitClone: {depth: 1, submodules: recursive}

Rules

1. Whatever is wrong is said with the file's name and the line.
2. A key that does not exist is an error that names the nearest one that does: a
   misspelt `timeuot` that is ignored is a job that runs for ever.
3. The same key twice is an error. YAML itself would take the last.
4. Text is what the file says, letter by letter: `commit: 1234567`, `branch: 1.10`
   and `command: true` mean what they seem to, not a number and a boolean.
5. Anchors and aliases work; tags that make objects, and merge keys, do not exist.

It reads YAML's node tree rather than the values made of it, since only nodes
know their lines and the letters that they were written with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

import yaml

from airunner.cli.draft import Draft, locate
from airunner.cli.exits import CommandFailed
from airunner.errors import InvalidRequest
from airunner.limits import MIB
from airunner.spec import Container, Mount, ProcessType, Submodules
from airunner.units import parse_duration, parse_size

FILE_BYTES_MAX: Final = MIB

Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=Enum)

_TAG: Final = "tag:yaml.org,2002:"
_TRUE: Final = ("true", "yes", "on")
_FALSE: Final = ("false", "no", "off")

# Key of the file -> field on the wire, as InvalidRequest names it.
_WIRE: Final[Mapping[str, str]] = {
    "command": "command",
    "args": "args",
    "processType": "process_type",
    "timeout": "timeout_seconds",
    "queueTimeout": "queue_timeout_seconds",
    "gracePeriod": "grace_seconds",
    "workingDirectory": "working_directory",
    "environment": "environment",
    "metadata": "metadata",
    "repository": "repository",
    "commit": "commit",
    "branch": "branch",
    "owner": "owner",
    "queue": "queue",
    "attemptsMax": "attempts_max",
    "outputBytesMax": "output_bytes_max",
    "terminal": "terminal",
    "gitClone": "git_clone",
    "container": "container",
}
KEYS: Final = tuple(_WIRE)

Entries = Mapping[str, tuple[int, yaml.Node]]  # key -> its line, and the node of its value


def read_job_file(path: Path) -> Draft:
    """What the file says. Raises CommandFailed: a sentence with file and line."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CommandFailed(f"{path} is larger than a job file may be ({FILE_BYTES_MAX} bytes)")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"cannot read the job file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{path} is not a job file: it is not UTF-8 text") from None
    return parse_job_file(text, str(path), path.parent)


def parse_job_file(text: str, name: str, folder: Path) -> Draft:
    """The same for a text; `folder` is what a relative path of a repository starts from."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CommandFailed(f"{name}:{line}: this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise CommandFailed(f"{name}: this is not YAML: {' '.join(str(error).split())}") from None
    if node is None:
        raise CommandFailed(f"{name} is empty: a job file says at least `command:`")
    return _File(name, folder).draft(node)


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    folder: Path

    def draft(self, root: yaml.Node) -> Draft:
        top = self.entries(root, "the file", KEYS)
        clone = self.section(top, "gitClone", ("enabled", "depth", "singleBranch", "submodules"))
        terminal = self.section(top, "terminal", ("columns", "rows"))
        sources = {_WIRE[key]: f"{self.name}:{line}: {key}" for key, (line, _) in top.items()}
        for prefix, entries in (("git_clone", clone), ("terminal", terminal)):
            for key, (line, _) in entries.items():
                sources[f"{prefix}.{key}"] = f"{self.name}:{line}: {key}"
        repository = self.take(top, "repository", self.text)
        cloned = self.take(clone, "enabled", self.flag)
        return Draft(
            command=self.take(top, "command", self.text),
            args=self.take(top, "args", self.texts),
            queue=self.take(top, "queue", self.text),
            repository=self.located(repository, top) if repository else repository,
            commit=self.take(top, "commit", self.text),
            branch=self.take(top, "branch", self.text),
            clone=True if cloned is None and clone else cloned,
            depth=self.take(clone, "depth", self.number),
            single_branch=self.take(clone, "singleBranch", self.flag),
            submodules=self.take(clone, "submodules", self.submodules),
            working_directory=self.take(top, "workingDirectory", self.text),
            environment=self.take(top, "environment", self.pairs) or {},
            metadata=self.take(top, "metadata", self.pairs) or {},
            owner=self.take(top, "owner", self.text),
            process_type=self.take(top, "processType", self.process_type),
            columns=self.take(terminal, "columns", self.number),
            rows=self.take(terminal, "rows", self.number),
            container=self.take(top, "container", self.container),
            timeout=self.take(top, "timeout", self.duration),
            queue_timeout=self.take(top, "queueTimeout", self.duration),
            grace=self.take(top, "gracePeriod", self.duration),
            attempts_max=self.take(top, "attemptsMax", self.number),
            output_bytes_max=self.take(top, "outputBytesMax", self.size),
            sources=sources,
        )

    # Structure

    def refuse(self, line: int, why: str) -> CommandFailed:
        return CommandFailed(f"{self.name}:{line}: {why}")

    def entries(self, node: yaml.Node, what: str, keys: tuple[str, ...] = ()) -> Entries:
        """The entries of a mapping, whose keys are among `keys` if those are given."""
        if not isinstance(node, yaml.MappingNode):
            raise self.refuse(_line(node), f"{what} must be keys and values, as in `key: value`")
        found: dict[str, tuple[int, yaml.Node]] = {}
        for key_node, value in node.value:
            key, line = self.text(key_node, f"a key of {what}"), _line(key_node)
            if key in found:
                raise self.refuse(
                    line, f"the key {key} is here twice (first on line {found[key][0]})"
                )
            if keys and key not in keys:
                raise self.refuse(line, f"{what} has no key {key!r}{_nearest(key, keys)}")
            found[key] = (line, value)
        return found

    def section(self, top: Entries, key: str, keys: tuple[str, ...]) -> Entries:
        return self.entries(top[key][1], key, keys) if key in top else {}

    def take(
        self, entries: Entries, key: str, read: Callable[[yaml.Node, str], Value]
    ) -> Value | None:
        """The value of a key; None where it is not, or where it is null."""
        if key not in entries or entries[key][1].tag == f"{_TAG}null":
            return None
        return read(entries[key][1], key)

    def located(self, repository: str, top: Entries) -> str:
        try:
            return locate(repository, self.folder)
        except CommandFailed as error:
            raise self.refuse(top["repository"][0], f"repository: {error}") from None

    # Values

    def text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag == f"{_TAG}null":
            raise self.refuse(_line(node), f"{what} must be text")
        return str(node.value)

    def texts(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.refuse(_line(node), f"{what} must be a list, as in `{what}: [one, two]`")
        return tuple(self.text(item, f"an item of {what}") for item in node.value)

    def pairs(self, node: yaml.Node, what: str) -> Mapping[str, str]:
        entries = self.entries(node, what)
        return {key: self.text(value, f"{what}.{key}") for key, (_, value) in entries.items()}

    def flag(self, node: yaml.Node, what: str) -> bool:
        text = self.text(node, what).lower()
        if text not in (*_TRUE, *_FALSE):
            raise self.refuse(_line(node), f"{what} must be true or false")
        return text in _TRUE

    def number(self, node: yaml.Node, what: str) -> int:
        text = self.text(node, what)
        if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 18:
            raise self.refuse(_line(node), f"{what} must be a whole number")
        return int(text)

    def duration(self, node: yaml.Node, what: str) -> int:
        try:
            return parse_duration(self.text(node, what))
        except ValueError as error:
            raise self.refuse(_line(node), f"{what}: {error}") from None

    def size(self, node: yaml.Node, what: str) -> int:
        try:
            return parse_size(self.text(node, what))
        except ValueError as error:
            raise self.refuse(_line(node), f"{what}: {error}") from None

    def process_type(self, node: yaml.Node, what: str) -> ProcessType:
        text = self.text(node, what).lower().removeprefix("process_type_")
        return self.choice(node, what, text, ProcessType)

    def submodules(self, node: yaml.Node, what: str) -> Submodules:
        text = self.text(node, what).lower()
        return self.choice(node, what, "none" if text in ("", *_FALSE) else text, Submodules)

    def choice(self, node: yaml.Node, what: str, text: str, choices: type[Choice]) -> Choice:
        for each in choices:
            if each.value == text:
                return each
        known = ", ".join(str(each.value) for each in choices)
        raise self.refuse(_line(node), f"{what} is {text!r}, but must be one of {known}")

    def container(self, node: yaml.Node, what: str) -> Container | None:
        entries = self.entries(node, what, ("enabled", "image", "runtime", "mounts"))
        if self.take(entries, "enabled", self.flag) is False:
            return None
        image = self.take(entries, "image", self.text)
        if not image:
            raise self.refuse(_line(node), "container needs an image")
        return Container(
            image=image,
            runtime=self.take(entries, "runtime", self.text) or "",
            mounts=self.take(entries, "mounts", self.mounts) or (),
        )

    def mounts(self, node: yaml.Node, what: str) -> tuple[Mount, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.refuse(_line(node), f"{what} must be a list")
        return tuple(self.mount(item) for item in node.value)

    def mount(self, node: yaml.Node) -> Mount:
        entries = self.entries(node, "a mount", ("source", "target", "readOnly"))
        source = self.take(entries, "source", self.text)
        target = self.take(entries, "target", self.text)
        if not source or not target:
            raise self.refuse(_line(node), "a mount needs a source and a target")
        read_only = self.take(entries, "readOnly", self.flag)
        try:
            return Mount(source=source, target=target, read_only=bool(read_only))
        except InvalidRequest as error:
            raise self.refuse(_line(node), str(error)) from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _nearest(key: str, keys: tuple[str, ...]) -> str:
    """A hint: the known key that is nearest, whatever its letters' case; else all of them."""
    by_letters = {each.lower(): each for each in keys}
    letters = key.lower().replace("_", "").replace("-", "")
    if near := get_close_matches(letters, by_letters, 1, 0.6):
        return f": did you mean {by_letters[near[0]]}?"
    return f"; it may have {', '.join(keys)}"
