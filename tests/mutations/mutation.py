"""One rule that is broken on purpose."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    name: str  # what is broken
    promise: str  # id of the broken promise (docs/promises.md)
    file: str
    old: str
    new: str
    test: str  # the one that must fail, as pytest names it
