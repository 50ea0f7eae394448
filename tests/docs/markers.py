"""The promise markers of all tests, read off their syntax trees."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = ("CHECKS", "INVARIANTS")  # the tuples by which a module runs checks that are no tests


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise with its checks, the main check first, the others in order of their names."""

    id: str
    text: str
    checks: tuple[str, ...]


@dataclass(slots=True)
class Markers:
    """All markers below one folder. A check is "file::function", or the file of a golden story."""

    stated: list[tuple[str, str, str]] = field(default_factory=list)  # id, text, check
    held: list[tuple[str, str]] = field(default_factory=list)  # id, check
    idle: list[str] = field(default_factory=list)  # marked functions that nothing runs

    def promises(self) -> list[Promise]:
        """Every stated promise, in order of the ids."""
        return [
            Promise(
                id, text, (main, *sorted(check for other, check in set(self.held) if other == id))
            )
            for id, text, main in sorted(self.stated)
        ]

    def add_module(self, path: Path, name: str) -> None:
        """Read the markers of one module; `name` is its path from the root of the project."""
        tree = ast.parse(path.read_text(encoding="utf-8"))
        runs = set(_listed(tree))
        is_suite = path.name.startswith("test_") or path.name.endswith("_contract.py")
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for marker, words in _markers(node):
                check = f"{name}::{node.name}"
                if not (node.name in runs or (is_suite and node.name.startswith("test_"))):
                    self.idle.append(check)
                if marker == "promise":
                    id, text = words
                    self.stated.append((id, text, check))
                else:
                    self.held += [(id, check) for id in words]

    def add_story(self, path: Path, name: str) -> None:
        """Read the `# holds:` lines of a golden story."""
        for ids in re.findall(r"^# holds: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            self.held += [(id, name) for id in ids.split()]


@cache
def read_markers(folder: Path = ROOT / "tests") -> Markers:
    """All markers of the modules and golden stories below a folder."""
    markers = Markers()
    for path in sorted(folder.rglob("*.py")):
        markers.add_module(path, path.relative_to(folder.parent).as_posix())
    for path in sorted(folder.rglob("stories/*.txt")):
        markers.add_story(path, path.relative_to(folder.parent).as_posix())
    return markers


def _markers(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, list[str]]]:
    for decorator in node.decorator_list:
        if (
            isinstance(decorator, ast.Call)
            and isinstance(decorator.func, ast.Name)
            and decorator.func.id in ("promise", "holds")
        ):
            yield decorator.func.id, [str(ast.literal_eval(arg)) for arg in decorator.args]


def _listed(tree: ast.Module) -> Iterator[str]:
    """The functions that a module lists as its checks."""
    for node in tree.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id in LISTS
            and isinstance(node.value, ast.Tuple)
        ):
            yield from (each.id for each in node.value.elts if isinstance(each, ast.Name))
