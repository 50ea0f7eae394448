"""Features of workers: the parts of a job specification that a worker of an earlier version ignores.

A worker lists its features in its Hello, and the server leases a job only to a worker that has every
feature that the job needs. A worker that lists none runs the jobs that need none. A caller of the
published DequeueJob runs these too, and clones any revision, as the published contract says.

Parts of a specification that are older than the list need no feature.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from itertools import compress
from typing import Final

from airunner.model.repositories import is_commit_id
from airunner.model.spec import Checkout, JobSpec
from airunner.model.steps import StepCondition


class Feature(StrEnum):
    """A part of a job specification, by its name on the wire."""

    STRICT = "strict"  # scripts and steps end at the first failing command
    WHEN = "when"  # steps that run after a failure
    ARTIFACTS_ON_CANCEL = "artifacts-on-cancel"  # artifacts of a cancelled job
    BACKGROUND = "background"  # steps whose processes live until the job ends
    LFS = "lfs"  # files of Git LFS in a checkout
    FILTER = "filter"  # a partial clone
    SPARSE = "sparse"  # a sparse checkout
    MERGE_STDERR = "merge-stderr"  # one pipe for both streams
    REVISION = "revision"  # a commit by any name that git takes; older workers refuse all but ids


Features = frozenset[Feature]

NONE: Final[Features] = frozenset()
PUBLISHED: Final[Features] = frozenset({Feature.REVISION})  # of callers of DequeueJob
ALL: Final[Features] = frozenset(Feature)

_PLAIN_CHECKOUT: Final = Checkout()


def known(names: Iterable[str]) -> Features:
    """The features with these names; a later version's names are left out."""
    given = frozenset(names)
    return Features(each for each in Feature if each in given)


def needed(spec: JobSpec) -> Features:
    """The features that a worker needs for a job."""
    when = background = False
    for step in spec.steps or ():
        when = when or step.when is not StepCondition.ON_SUCCESS
        background = background or step.background
    checkout = (spec.checkout if spec.repository else None) or _PLAIN_CHECKOUT
    return _features_of(
        (
            spec.strict,
            when,
            spec.artifacts_on_cancel,
            background,
            checkout.lfs,
            bool(checkout.filter),
            bool(checkout.sparse),
            spec.merge_stderr,
            bool(spec.repository and spec.commit) and not is_commit_id(spec.commit),
        )
    )


@cache
def _features_of(needs: tuple[bool, ...]) -> Features:
    """The set with the features that are needed, in the order of Feature.

    Cached, because every waiting job has its set as part of a key.
    """
    return Features(compress(Feature, needs))
