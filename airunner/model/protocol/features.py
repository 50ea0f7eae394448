"""Features of workers: the parts of a job specification that a worker of an earlier version ignores.

A worker lists its features in its Hello, and the server leases a job only to a worker that has every
feature that the job needs. A worker that lists none, and a caller of the published DequeueJob, run the
jobs that need none.

Parts of a specification that are older than the list need no feature.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from typing import Final

from airunner.model.spec import JobSpec
from airunner.model.steps import StepCondition


class Feature(StrEnum):
    """A part of a job specification, by its name on the wire."""

    STRICT = "strict"  # scripts and steps end at the first failing command
    WHEN = "when"  # steps that run after a failure


Features = frozenset[Feature]

NONE: Final[Features] = frozenset()
ALL: Final[Features] = frozenset(Feature)


def known(names: Iterable[str]) -> Features:
    """The features with these names; a later version's names are left out."""
    given = frozenset(names)
    return Features(each for each in Feature if each in given)


def needed(spec: JobSpec) -> Features:
    """The features that a worker needs for a job."""
    return _features_of(
        spec.strict,
        any(step.when is not StepCondition.ON_SUCCESS for step in spec.steps or ()),
    )


@cache
def _features_of(strict: bool, when: bool) -> Features:
    """The one set with these features: every waiting job has it as part of a key."""
    return Features(
        feature
        for feature, is_needed in ((Feature.STRICT, strict), (Feature.WHEN, when))
        if is_needed
    )
