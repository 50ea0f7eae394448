"""Features of workers: the parts of a job specification that a worker of an earlier version ignores.

A worker lists its features in its Hello, and the server leases a job only to a worker that has every
feature that the job needs. A worker that lists none, and a caller of the published DequeueJob, run the
jobs that need none.

Parts of a specification that are older than the list need no feature.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from airunner.model.spec import JobSpec


class Feature(StrEnum):
    """A part of a job specification, by its name on the wire."""

    STRICT = "strict"  # scripts and steps end at the first failing command


Features = frozenset[Feature]

NONE: Final[Features] = frozenset()
ALL: Final[Features] = frozenset(Feature)
_STRICT: Final = Features((Feature.STRICT,))


def known(names: Iterable[str]) -> Features:
    """The features with these names; a later version's names are left out."""
    given = frozenset(names)
    return Features(each for each in Feature if each in given)


def needed(spec: JobSpec) -> Features:
    """The features that a worker needs for a job."""
    return _STRICT if spec.strict else NONE
