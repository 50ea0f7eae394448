"""One rule that is broken on purpose."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    name: str  # what is broken
    promise: str  # what is not true any more, as ARCHITECTURE.md has it or in its words
    file: str
    old: str
    new: str
    test: str  # the one that must fail, as pytest names it
