"""The baseline of bare processes reads all output, as a worker does."""

import os
import shutil

import pytest

from airunner.bench.load.bare_spawn import read_all
from tests.support.descriptors import open_descriptors

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_every_byte_is_read(terminal: bool) -> None:
    size = read_all(("seq", "20000"), ENVIRONMENT, terminal=terminal)
    text = "".join(f"{number}\n" for number in range(1, 20_001))
    assert size == len(text) + (20_000 if terminal else 0)  # a terminal adds a return to each line


def test_both_pipes_are_read() -> None:
    assert read_all(("sh", "-c", "echo one; echo three >&2"), ENVIRONMENT) == len("onethree\n\n")


def test_a_terminal_is_the_processes_own() -> None:
    """A process can name its terminal only if it has one."""
    assert read_all(("sh", "-c", "printf x > /dev/tty"), ENVIRONMENT, terminal=True) == 1


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_nothing_is_left_open_even_if_it_ends_badly(terminal: bool) -> None:
    before = open_descriptors()
    assert read_all((str(shutil.which("true")),), ENVIRONMENT, terminal=terminal) == 0
    with pytest.raises(AssertionError, match="ended with status"):
        read_all(("false",), ENVIRONMENT, terminal=terminal)
    assert open_descriptors() <= before
