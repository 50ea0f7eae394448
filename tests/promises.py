"""Markers that tie a promise of airunner to the checks that hold it.

    @promise("jobs/final-state-stays", "A final state never changes. ...")
        above the main check: states the promise, once. The first sentence is its title
    @holds("jobs/final-state-stays", ...)
        above every other check of these promises
    # holds: jobs/final-state-stays
        a line at the head of a golden story

Tests, invariants, checkers and contract suites are marked alike: the markers leave a function as it
is, and `python -m tests.docs` reads them off the syntax trees to generate docs/promises.md. So ids
and texts are literals. The part of an id before its slash is a section of that page.
"""

from collections.abc import Callable
from typing import TypeVar

Check = TypeVar("Check", bound=Callable[..., object])


def promise(id: str, text: str) -> Callable[[Check], Check]:
    """Mark the main check of the promise `id`, whose sentences are `text`."""
    del id, text  # read from the source
    return _unchanged


def holds(*ids: str) -> Callable[[Check], Check]:
    """Mark a further check of these promises."""
    del ids  # read from the source
    return _unchanged


def _unchanged(check: Check) -> Check:
    return check
