"""The reader of job files: YAML (and so JSON) to a JobDraft.

    steps:
      - make
      - {name: test, run: make test, timeout: 10m}
    timeout: 1h
    environment: {CI: "true"}
    gitClone: {depth: 1, submodules: recursive}

Rules

1. Every error names the file and the line.
2. An unknown key is an error that suggests the most similar known key. If it were ignored, a
   job with a misspelt `timeuot` would run for ever.
3. A duplicate key is an error. YAML itself would take the last value.
4. A text is read letter by letter: `commit: 1234567`, `branch: 1.10` and `command: true` are
   texts, not numbers and a boolean.
5. Anchors, aliases and merge keys (merge_keys.py) work, and a top-level key that begins with `x-` is
   ignored: a place for anchors. Tags that construct objects are not supported.
6. A key without a value is a key that is not there: `branch:` is no branch.
7. JSON is read as JSON: tabs between tokens are allowed, and surrogate pairs are decoded.

The reader works on YAML's node tree rather than on constructed values, since only nodes have
line numbers and the original text. It uses PyYAML's own parser: libyaml's is faster, but a file
of a thousand brackets crashes the process.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

import yaml

from airunner.jobfile.draft import JobDraft, resolve_repository
from airunner.jobfile.error import JobFileError
from airunner.jobfile.merge_keys import MergeKeys, MergeRefused
from airunner.jobfile.steps import FALSE, STEP_KEYS, TRUE, read_steps, suggestion
from airunner.model.errors import InvalidRequest
from airunner.model.limits import JOB_FILE_BYTES_MAX
from airunner.model.spec import Container, Mount, ProcessType, Submodules
from airunner.model.steps import Step
from airunner.model.units import parse_duration, parse_size
from airunner.system.text_files import decode_text, read_file, shell_text

Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=Enum)

_EXTENSION: Final = "x-"  # begins a key that is ignored
_TAG: Final = "tag:yaml.org,2002:"
_NOT_ASCII: Final = re.compile(r"[^\r\n -~]")
_CLONE: Final = ("enabled", "depth", "singleBranch", "submodules", "lfs", "filter", "sparse")
_STEP: Final = tuple(STEP_KEYS)
_PLACE: Final = re.compile(r"steps\[(\d+)\](.*)", re.DOTALL)
_STEPS_DEPTH: Final = 3  # nesting: list of steps, step, environment

# Key of the file -> field of the wire contract, as InvalidRequest names it.
_WIRE: Final[Mapping[str, str]] = {
    "command": "command",
    "args": "args",
    "script": "script",
    "steps": "steps",
    "shell": "shell",
    "name": "name",
    "processType": "process_type",
    "mergeStderr": "merge_stderr",
    "strict": "strict",
    "timeout": "timeout_seconds",
    "queueTimeout": "queue_timeout_seconds",
    "gracePeriod": "grace_seconds",
    "workingDirectory": "working_directory",
    "environment": "environment",
    "metadata": "metadata",
    "source": "source",
    "artifacts": "artifacts",
    "artifactsOnCancel": "artifacts_on_cancel",
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

Entries = Mapping[str, tuple[int, yaml.Node]]  # key -> line of the key, node of the value


def read_job_file(path: Path) -> JobDraft:
    """Read a job file. Raises JobFileError: a sentence with file and line."""
    try:
        text = decode_text(read_file(path, JOB_FILE_BYTES_MAX))
    except OSError as error:
        raise JobFileError(f"cannot read the job file {path}: {error.strerror}") from None
    except ValueError as error:
        raise JobFileError(f"{path} is not a job file: it {error}") from None
    return parse_job_file(shell_text(text), str(path), path.parent)


def parse_job_file(text: str, name: str, folder: Path) -> JobDraft:
    """Parse the text of a job file; a relative path of a repository is relative to `folder`."""
    language = "JSON" if name.endswith(".json") else "YAML"
    try:
        node = yaml.compose(_for_yaml(text), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise JobFileError(f"{name}:{line}: this is not {language}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise JobFileError(f"{name}: this is not {language}: {why}") from None
    if node is None:
        raise JobFileError(f"{name} is empty: it must say what to run, as in `command: make`")
    try:
        return _File(name, folder).draft(node)
    except RecursionError:
        raise JobFileError(f"{name}: aliases are nested too deeply") from None


@dataclass(frozen=True, slots=True)
class _File:
    """A job file: converts its nodes to values, with the file's name in every error."""

    name: str
    folder: Path
    merge_keys: MergeKeys = field(default_factory=MergeKeys)

    def draft(self, root: yaml.Node) -> JobDraft:
        top = self.entries(root, "the file", KEYS)
        clone = self.section(top, "gitClone", _CLONE)
        terminal = self.section(top, "terminal", ("columns", "rows"))
        origins = {_WIRE[key]: f"{self.name}:{line}: {key}" for key, (line, _) in top.items()}
        for prefix, entries in (("git_clone", clone), ("terminal", terminal)):
            for key, (line, _) in entries.items():
                origins[f"{prefix}.{key}"] = f"{self.name}:{line}: {key}"
        repository = self.take(top, "repository", self.text)
        enabled = self.take(clone, "enabled", self.flag)
        return JobDraft(
            command=self.take(top, "command", self.text),
            args=self.take(top, "args", self.texts),
            script=self.take(top, "script", self.script),
            steps=self.take(top, "steps", self.steps),
            shell=self.take(top, "shell", self.text),
            name=self.take(top, "name", self.text),
            queue=self.take(top, "queue", self.text),
            source=self.take(top, "source", self.text),
            repository=self.resolve(repository, top) if repository else repository,
            commit=self.take(top, "commit", self.text),
            branch=self.take(top, "branch", self.text),
            clone=True if enabled is None and clone else enabled,
            depth=self.take(clone, "depth", self.number),
            single_branch=self.take(clone, "singleBranch", self.flag),
            submodules=self.take(clone, "submodules", self.submodules),
            lfs=self.take(clone, "lfs", self.flag),
            filter=self.take(clone, "filter", self.text),
            sparse=self.take(clone, "sparse", self.texts),
            working_directory=self.take(top, "workingDirectory", self.text),
            artifacts=self.take(top, "artifacts", self.texts),
            environment=self.take(top, "environment", self.pairs) or {},
            metadata=self.take(top, "metadata", self.pairs) or {},
            owner=self.take(top, "owner", self.text),
            process_type=self.take(top, "processType", self.process_type),
            merge_stderr=self.take(top, "mergeStderr", self.flag),
            strict=self.take(top, "strict", self.flag),
            artifacts_on_cancel=self.take(top, "artifactsOnCancel", self.flag),
            columns=self.take(terminal, "columns", self.number),
            rows=self.take(terminal, "rows", self.number),
            container=self.take(top, "container", self.container),
            timeout=self.take(top, "timeout", self.duration),
            queue_timeout=self.take(top, "queueTimeout", self.duration),
            grace=self.take(top, "gracePeriod", self.duration),
            attempts_max=self.take(top, "attemptsMax", self.number),
            output_bytes_max=self.take(top, "outputBytesMax", self.size),
            origins=origins,
        )

    # Structure

    def refuse(self, line: int, why: str) -> JobFileError:
        return JobFileError(f"{self.name}:{line}: {why}")

    def entries(self, node: yaml.Node, label: str, keys: tuple[str, ...] = ()) -> Entries:
        """The entries of a mapping; with `keys` given, any other key is an error."""
        if not isinstance(node, yaml.MappingNode):
            raise self.refuse(_line(node), f"{label} must be keys and values, as in `key: value`")
        try:
            own, merged = self.merge_keys.pairs(node)
        except MergeRefused as refused:
            raise self.refuse(refused.line, str(refused)) from None
        found: dict[str, tuple[int, yaml.Node]] = {}
        for place, (key_node, value) in enumerate((*own, *merged)):
            key, line = self.text(key_node, f"a key of {label}"), _line(key_node)
            if key in found and place < len(own):
                raise self.refuse(
                    line, f"the key {key} appears twice (first on line {found[key][0]})"
                )
            ignored = keys == KEYS and key.startswith(_EXTENSION)
            if keys and key not in keys and not ignored:
                raise self.refuse(line, f"{label} has no key {key!r}{suggestion(key, keys)}")
            found.setdefault(key, (line, value))
        return {
            key: entry
            for key, entry in found.items()
            if not _is_null(entry[1]) and (key in keys or not keys)
        }

    def section(self, top: Entries, key: str, keys: tuple[str, ...]) -> Entries:
        return self.entries(top[key][1], key, keys) if key in top else {}

    def take(
        self, entries: Entries, key: str, read: Callable[[yaml.Node, str], Value]
    ) -> Value | None:
        """The value of a key; None if the key is missing."""
        return read(entries[key][1], key) if key in entries else None

    def resolve(self, repository: str, top: Entries) -> str:
        try:
            return resolve_repository(repository, self.folder)
        except JobFileError as error:
            raise self.refuse(top["repository"][0], f"repository: {error}") from None

    # Values

    def text(self, node: yaml.Node, label: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            raise self.refuse(_line(node), f"{label} must be text")
        try:
            return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self.refuse(
                _line(node), f"{label} has an unpaired surrogate (half a character) in it"
            ) from None

    def script(self, node: yaml.Node, what: str) -> str:
        return shell_text(self.text(node, what))

    def texts(self, node: yaml.Node, label: str) -> tuple[str, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.refuse(_line(node), f"{label} must be a list, as in `{label}: [one, two]`")
        return tuple(self.text(item, f"an item of {label}") for item in node.value)

    def pairs(self, node: yaml.Node, label: str) -> Mapping[str, str]:
        entries = self.entries(node, label)
        return {key: self.text(value, f"{label}.{key}") for key, (_, value) in entries.items()}

    def flag(self, node: yaml.Node, label: str) -> bool:
        text = self.text(node, label).lower()
        if text not in (*TRUE, *FALSE):
            raise self.refuse(_line(node), f"{label} must be true or false")
        return text in TRUE

    def number(self, node: yaml.Node, label: str) -> int:
        text = self.text(node, label)
        if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 18:
            raise self.refuse(_line(node), f"{label} must be a whole number")
        return int(text)

    def duration(self, node: yaml.Node, label: str) -> int:
        try:
            return parse_duration(self.text(node, label))
        except ValueError as error:
            raise self.refuse(_line(node), f"{label}: {error}") from None

    def size(self, node: yaml.Node, label: str) -> int:
        try:
            return parse_size(self.text(node, label))
        except ValueError as error:
            raise self.refuse(_line(node), f"{label}: {error}") from None

    def steps(self, node: yaml.Node, label: str) -> tuple[Step, ...]:
        lines: dict[str, int] = {}
        value = self.plain(node, label, lines, _STEPS_DEPTH)
        try:
            return read_steps(value, label)
        except InvalidRequest as error:
            place = next(each for each in _ancestors(error.field) if each in lines)
            raise self.refuse(lines[place], f"{_step(error.field)}: {error.why}") from None

    def plain(self, node: yaml.Node, place: str, lines: dict[str, int], depth: int) -> object:
        """Convert a node to lists, mappings and texts; stores the line of each place in `lines`.

        Stops at `depth`: no valid value is nested deeper, and an alias can contain itself.
        """
        lines.setdefault(place, _line(node))
        if _is_null(node):
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.text(node, place)
        if depth == 0:
            return []
        if isinstance(node, yaml.SequenceNode):
            places = ((f"{place}[{index}]", item) for index, item in enumerate(node.value))
            return [self.plain(item, at, lines, depth - 1) for at, item in places]
        of_step = depth == _STEPS_DEPTH - 1
        entries = self.entries(node, "a step" if of_step else place, _STEP if of_step else ())
        lines |= {f"{place}.{key}": line for key, (line, _) in entries.items()}
        return {
            key: self.plain(value, f"{place}.{key}", lines, depth - 1)
            for key, (_, value) in entries.items()
        }

    def process_type(self, node: yaml.Node, label: str) -> ProcessType:
        text = self.text(node, label).lower().removeprefix("process_type_")
        return self.choice(node, label, text, ProcessType)

    def submodules(self, node: yaml.Node, label: str) -> Submodules:
        text = self.text(node, label).lower()
        return self.choice(node, label, "none" if text in ("", *FALSE) else text, Submodules)

    def choice(self, node: yaml.Node, label: str, text: str, choices: type[Choice]) -> Choice:
        for each in choices:
            if each.value == text:
                return each
        known = ", ".join(str(each.value) for each in choices)
        raise self.refuse(_line(node), f"{label} is {text!r}, but must be one of {known}")

    def container(self, node: yaml.Node, label: str) -> Container | None:
        entries = self.entries(node, label, ("enabled", "image", "runtime", "mounts"))
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

    def mounts(self, node: yaml.Node, label: str) -> tuple[Mount, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.refuse(_line(node), f"{label} must be a list")
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


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == f"{_TAG}null")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _ancestors(place: str) -> Iterator[str]:
    """The place and the places around it: a step that is a plain text has no line for `run`."""
    while place:
        yield place
        place = place.rpartition(".")[0]


def _step(place: str) -> str:
    """The place of a step in words, counted from 1: `steps[1].timeout` is `step 2: timeout`."""
    found = _PLACE.fullmatch(place)
    return f"step {int(found[1]) + 1}{found[2].replace('.', ': ', 1)}" if found else place


def _for_yaml(text: str) -> str:
    """Convert JSON to text that YAML reads alike, line by line; return any other text unchanged.

    YAML does not allow tabs before a token, which in JSON occur outside of strings only, and has
    line breaks that JSON does not have.
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _NOT_ASCII.sub(lambda found: f"\\U{ord(found[0]):08x}", text.replace("\t", " "))
