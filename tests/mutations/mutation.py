"""A rule that is broken on purpose: a small change of the syntax tree of one function.

`old` and `new` are Python: an expression, or a statement. The tree of `old` is searched for, so
neither the layout of the code, nor its comments, nor a change of another line matters. In `old`,
`...` stands for any expression, and `f(...)` for a call of `f` with any arguments.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Misfit(Exception):
    """The code has no such function, or `old` does not stand in it exactly once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    name: str  # the state of the code after the change
    promise: str  # the id of the broken promise (docs/promises.md)
    at: str  # "package.module:Class.function"
    old: str
    new: str = "pass"
    test: str  # the test that must fail, as pytest names it

    @property
    def file(self) -> Path:
        """The path of the module, from the root of the project."""
        return Path(*self.at.partition(":")[0].split(".")).with_suffix(".py")

    def applied(self, text: str) -> str:
        """The module with the change, without comments. Raises Misfit."""
        tree = ast.parse(text)
        scope: ast.Module | Definition = tree
        for name in self.at.partition(":")[2].split("."):
            scope = _named(name, scope)
        replacement = _Replacement(_snippet(self.old), _snippet(self.new))
        replacement.generic_visit(scope)
        if replacement.times != 1:
            raise Misfit(f"{self.at} has {replacement.times} times {self.old!r}")
        return f"{ast.unparse(tree)}\n"


class _Replacement(ast.NodeTransformer):
    """Replaces each node that matches a pattern, and counts them."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        if isinstance(old, ast.Expr) and isinstance(new, ast.Expr):
            old, new = old.value, new.value
        self._old, self._new = old, new
        self.times = 0

    def visit(self, node: ast.AST) -> ast.AST:
        if not _matches(self._old, node):
            return self.generic_visit(node)
        self.times += 1
        return self._new


def _named(name: str, scope: ast.Module | Definition) -> Definition:
    for node in scope.body:
        if isinstance(node, Definition) and node.name == name:
            return node
    raise Misfit(f"there is no {name}")


def _snippet(code: str) -> ast.stmt:
    (statement,) = ast.parse(code).body
    return statement


def _matches(pattern: object, node: object) -> bool:
    if _is_wildcard(pattern):
        return isinstance(node, ast.expr)
    if type(pattern) is not type(node):
        return False
    if isinstance(pattern, list) and isinstance(node, list):
        return len(pattern) == len(node) and all(map(_matches, pattern, node))
    if isinstance(pattern, ast.Call) and list(map(_is_wildcard, pattern.args)) == [True]:
        return isinstance(node, ast.Call) and _matches(pattern.func, node.func)
    if isinstance(pattern, ast.AST):
        fields = pattern._fields
        return all(_matches(getattr(pattern, each), getattr(node, each)) for each in fields)
    return pattern == node


def _is_wildcard(pattern: object) -> bool:
    return isinstance(pattern, ast.Constant) and pattern.value is ...
