"""The list of mutations fits the code; `make mutate` shows that each is caught."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations.mutation import Mutation
from tests.mutations.mutations import MUTATIONS

ROOT = Path(__file__).parents[2]


def names_in(path: Path) -> set[str]:
    """The names of what may be run of a module: functions, classes, and methods with inherited ones."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name.replace(" ", "_"))
def test_the_text_stands_once_and_its_replacement_is_another(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    ast.parse(text.replace(mutation.old, mutation.new))
    assert mutation.old != mutation.new


@pytest.mark.parametrize("test", sorted({each.test for each in MUTATIONS}))
def test_the_test_is_there(test: str) -> None:
    file, *names = test.split("::")
    path = ROOT / file
    assert path.is_file()
    known = names_in(path)
    if len(names) == 2:  # a contract's test, by way of the class that runs it
        known |= names_in(ROOT / "tests" / "log" / "log_contract.py")
        known |= names_in(ROOT / "tests/worker/workspace/results/sink_contract.py")
        known |= names_in(ROOT / "tests" / "blobs" / "blob_contract.py")
    assert set(names) <= known


def test_no_name_is_given_twice() -> None:
    assert not [
        name for name, count in Counter(each.name for each in MUTATIONS).items() if count > 1
    ]


def test_a_mutation_is_made_in_a_copy_and_caught_there() -> None:
    name = "a wake-up that goes with a sleeper who is cancelled"
    command = [sys.executable, "-m", "tests.mutations", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("1 of 1 mutations were caught\n")
