"""The list of mutations fits the code; `make mutate` shows that each is caught."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations.mutation import Misfit, Mutation
from tests.mutations.mutations import MUTATIONS

ROOT = Path(__file__).parents[2]

CODE = """
class Line:
    def put(self, item: str) -> None:  # a comment
        if item not in self.items and len(self.items) <= 7:
            self.items.append(item, front=False)
        self.wake(item)
        self.wake("all")
"""


def broken(old: str, new: str, at: str = "Line.put") -> str:
    """The code after a change."""
    mutation = Mutation(name="", promise="", at=f"airunner.line:{at}", old=old, new=new, test="")
    return mutation.applied(CODE)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name.replace(" ", "_"))
def test_a_mutation_fits_the_code_once_and_changes_it(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    changed = mutation.applied(text)
    compile(changed, mutation.file, "exec")
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))


def test_every_test_of_the_list_can_be_run() -> None:
    tests = sorted({each.test for each in MUTATIONS})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qp", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_name_is_given_twice() -> None:
    names = Counter(each.name for each in MUTATIONS)
    assert not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("len(self.items)<=7", "len(self.items) < 7", "len(self.items) < 7:"),
        ("item not in self.items", "True", "if True and len(self.items) <= 7:"),
        ("self.items.append(...)", "pass", "        pass\n"),
        ("self.items.append(...)", "None", "        None\n"),
        ("len(...) <= ...", "False", "if item not in self.items and False:"),
        ("self.wake('all')", "for each in item:\n    self.wake(each)", "for each in item:\n"),
    ],
)
def test_a_change_is_found_by_its_syntax_tree(old: str, new: str, line: str) -> None:
    assert line in broken(old, new)


@pytest.mark.parametrize(
    ("old", "at"),
    [
        ("self.items", "Line.put"),
        ("self.wake(...)", "Line.put"),
        ("self.sleep()", "Line.put"),
        ("self.items.append(item)", "Line.put"),
        ("self.wake('all')", "Line.get"),
        ("self.wake('all')", "put"),
    ],
)
def test_a_change_that_fits_nowhere_or_twice_is_refused(old: str, at: str) -> None:
    with pytest.raises(Misfit):
        broken(old, "None", at)


def test_a_mutation_is_made_in_a_copy_and_caught_there() -> None:
    name = "a wake-up is lost with a task that is cancelled"
    assert name in {each.name for each in MUTATIONS}
    command = [sys.executable, "-m", "tests.mutations", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("1 of 1 mutations were caught\n")
