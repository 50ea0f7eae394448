"""Merge keys of YAML: `<<: *base` and `<<: [*one, *other]` add the pairs of other mappings.

A key of the mapping itself wins over a merged key, and an earlier mapping wins over a later one. A
mapping that merges itself is refused, and so are more than MERGED_PAIRS_MAX merged pairs: a few
lines of aliases could otherwise stand for billions.
"""

from collections.abc import Sequence
from typing import Final

import yaml

MERGED_PAIRS_MAX: Final = 100_000  # pairs that the merge keys of a job file may add
_MERGE: Final = "tag:yaml.org,2002:merge"

Pair = tuple[yaml.Node, yaml.Node]  # the nodes of a key and of its value


class MergeRefused(Exception):
    """A merge key that cannot be followed: its line, and the end of a sentence."""

    def __init__(self, node: yaml.Node, why: str) -> None:
        super().__init__(why)
        self.line = int(node.start_mark.line) + 1


class MergeKeys:
    """The merge keys of one file."""

    def __init__(self) -> None:
        self._open = set[int]()  # the mappings whose pairs are being collected
        self._room = MERGED_PAIRS_MAX

    def pairs(self, node: yaml.MappingNode) -> tuple[Sequence[Pair], Sequence[Pair]]:
        """The pairs of a mapping itself, and the merged pairs in their order of precedence.

        Raises MergeRefused.
        """
        merges = [pair for pair in node.value if pair[0].tag == _MERGE]
        if not merges:
            return node.value, ()
        if len(merges) > 1:
            raise MergeRefused(merges[1][0], "the key << appears twice: write `<<: [*one, *other]`")
        if id(node) in self._open:
            raise MergeRefused(merges[0][0], "this mapping merges itself")
        self._open.add(id(node))
        try:
            merged = [pair for source in _sources(*merges[0]) for pair in self._all(source)]
        finally:
            self._open.discard(id(node))
        return [pair for pair in node.value if pair[0].tag != _MERGE], merged

    def _all(self, source: yaml.MappingNode) -> Sequence[Pair]:
        own, merged = self.pairs(source)
        self._room -= len(own) + len(merged)
        if self._room < 0:
            raise MergeRefused(
                source, f"merge keys add more than MERGED_PAIRS_MAX ({MERGED_PAIRS_MAX}) pairs"
            )
        return [*own, *merged]


def _sources(key: yaml.Node, value: yaml.Node) -> Sequence[yaml.MappingNode]:
    nodes: list[yaml.MappingNode] = []
    for node in value.value if isinstance(value, yaml.SequenceNode) else [value]:
        if not isinstance(node, yaml.MappingNode):
            raise MergeRefused(key, "<< must name a mapping, as in `<<: *base`, or a list of them")
        nodes.append(node)
    return nodes
