"""How much work a schema can make of a byte of answer, at worst.

The fast validator cannot be interrupted, so before it runs inside the event loop its work is bounded from
above: bytes of the answer times units per byte, a unit being about a nanosecond on a 2020s machine.

Every byte of an answer belongs to one value, and every value is looked at by the subschemas that apply at
its place. Let ``count(schema, k)`` be the weight of what applies, at worst, to a value k levels below the
one that *schema* applies to:

    count(schema, 0) = weight(schema) + sum of count(in-place subschema, 0)
    count(schema, k) = sum of count(in-place subschema, k) + count(what steps into the value, k - 1)

where of ``properties`` and ``additionalProperties`` only one applies to a member, and of ``prefixItems`` and
``items`` one to an item. The units per byte are the largest count over all levels. This is right for
recursive schemas too: a tree costs as much at every level, while a schema that applies itself twice to each
member doubles with every level, and is never run in the loop.

The weights are measured with jsonschema-rs 0.60; numbers with fractions are compared there as exact
fractions, which is why they weigh so much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final
from urllib.parse import unquote

from penstock_schemas._patterns import check_pattern
from penstock_schemas.json_schema import IN_PLACE_LIST, IN_PLACE_MAP, IN_PLACE_ONE

LIMIT: Final = 10**12
"""Units per byte are cut here: as much as can be told apart from for ever."""
_MAX_PAIRS: Final = 20_000

_NUMBER_WEIGHT: Final = 2_000
_BOUND_WEIGHT: Final = 300
_FORMAT_WEIGHT: Final = 20
_STATE_WEIGHT: Final = 3
_BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def units_per_byte(schema: dict[str, Any], *, max_depth: int) -> int:
    """Units of work per byte of an answer that is at most *max_depth* levels deep; LIMIT if unbounded.

    *schema* has passed ``check_schema``. Takes some tens of milliseconds at worst.
    """
    graph = _Graph(schema)
    counts: dict[tuple[int, int], int] = {}
    for depth in range(max_depth + 1):
        if not graph.reaches(0, depth):
            break
        if not _count(graph, depth, counts):
            return LIMIT
    return max(counts.get((0, depth), 0) for depth in range(max_depth + 1))


def _count(graph: _Graph, depth: int, counts: dict[tuple[int, int], int]) -> bool:
    """Fill in ``counts[0, depth]`` and what it needs; False when that is too much work."""
    waiting = [(0, depth)]
    while waiting:
        pair = waiting[-1]
        node = graph.nodes[pair[0]]
        missing = [needed for needed in graph.needs(node, pair[1]) if needed not in counts]
        if missing:
            waiting += missing
        else:
            counts[pair] = min(LIMIT, node.total(pair[1], counts))
            waiting.pop()
        if len(counts) + len(waiting) > _MAX_PAIRS:
            return False
    return True


@dataclass
class _Node:
    """A subschema: its own weight, and the numbers of those it applies."""

    weight: int
    in_place: list[int] = field(default_factory=list)
    one_of_members: list[int] = field(default_factory=list)
    each_member: list[int] = field(default_factory=list)
    one_of_items: list[int] = field(default_factory=list)
    each_item: list[int] = field(default_factory=list)

    def steps(self) -> Iterator[int]:
        """What it applies to members and items."""
        return chain(self.one_of_members, self.each_member, self.one_of_items, self.each_item)

    def total(self, depth: int, counts: dict[tuple[int, int], int]) -> int:
        """The count at *depth*; what is not in *counts* does not reach that far and counts 0."""
        here = sum(counts.get((number, depth), 0) for number in self.in_place)
        if not depth:
            return here + self.weight

        def below(numbers: list[int]) -> list[int]:
            return [counts.get((number, depth - 1), 0) for number in numbers]

        members = max(below(self.one_of_members), default=0) + sum(below(self.each_member))
        items = max(below(self.one_of_items), default=0) + sum(below(self.each_item))
        return here + max(members, items)


class _Graph:
    """The subschemas of a schema by number; the root is 0, a reference is an edge."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._root = schema
        self._schemas: list[Any] = [schema]
        self._numbers = {id(schema): 0}
        self.nodes: list[_Node] = []
        while len(self.nodes) < len(self._schemas):
            self.nodes.append(self._read(self._schemas[len(self.nodes)]))
        self._heights = _heights(self.nodes)

    def needs(self, node: _Node, depth: int) -> Iterator[tuple[int, int]]:
        """The counts that *node*'s count at *depth* is made of, without those that are 0."""
        yield from ((number, depth) for number in node.in_place if self.reaches(number, depth))
        if depth:
            yield from ((number, depth - 1) for number in node.steps() if self.reaches(number, depth - 1))

    def reaches(self, number: int, depth: int) -> bool:
        height = self._heights[number]
        return height is None or depth <= height

    def _number(self, schema: Any) -> int:
        if id(schema) not in self._numbers:
            self._numbers[id(schema)] = len(self._schemas)
            self._schemas.append(schema)
        return self._numbers[id(schema)]

    def _read(self, schema: Any) -> _Node:
        if isinstance(schema, bool):
            return _Node(1)
        node = _Node(_weight(schema))
        node.in_place = [self._number(one) for one in self._in_place(schema)]
        node.one_of_members = self._numbers_of(schema, "properties", "additionalProperties")
        node.each_member = self._numbers_of(schema, "patternProperties", "propertyNames")
        node.one_of_items = self._numbers_of(schema, "prefixItems", "items")
        node.each_item = self._numbers_of(schema, "contains")
        return node

    def _in_place(self, schema: dict[str, Any]) -> Iterator[Any]:
        if "$ref" in schema:
            yield self._resolve(schema["$ref"])
        for keyword in IN_PLACE_ONE & schema.keys():
            yield schema[keyword]
        for keyword in IN_PLACE_LIST & schema.keys():
            yield from schema[keyword]
        for keyword in IN_PLACE_MAP & schema.keys():
            yield from schema[keyword].values()

    def _numbers_of(self, schema: dict[str, Any], *keywords: str) -> list[int]:
        found: list[Any] = []
        for keyword in keywords:
            value = schema.get(keyword, [])
            if keyword in ("properties", "patternProperties"):
                found += value.values() if value else []
            elif keyword == "prefixItems":
                found += value
            elif keyword in schema:
                found.append(value)
        return [self._number(one) for one in found]

    def _resolve(self, reference: str) -> Any:
        if reference == "#":
            return self._root
        _, place, name = reference.split("/", 2)
        return self._root[place][unquote(name).replace("~1", "/").replace("~0", "~")]


def _heights(nodes: list[_Node]) -> list[int | None]:
    """How many levels each node steps down at most; None for those that come back to themselves."""
    heights: list[int | None] = [None] * len(nodes)
    users: list[list[int]] = [[] for _ in nodes]
    open_uses = [0] * len(nodes)
    for number, node in enumerate(nodes):
        for used in chain(node.in_place, node.steps()):
            users[used].append(number)
            open_uses[number] += 1
    ready = [number for number, count in enumerate(open_uses) if not count]
    while ready:
        number = ready.pop()
        node = nodes[number]
        below = max((heights[one] or 0 for one in node.steps()), default=-1) + 1
        heights[number] = max((heights[one] or 0 for one in node.in_place), default=0)
        heights[number] = max(heights[number] or 0, below)
        for user in users[number]:
            open_uses[user] -= 1
            if not open_uses[user]:
                ready.append(user)
    return heights


def _weight(schema: dict[str, Any]) -> int:
    weight = 1 + len(schema) + len(schema.get("properties", ())) + len(schema.get("required", ()))
    weight += sum(map(_member_weight, schema.get("enum", ())))
    if "const" in schema:
        weight += _member_weight(schema["const"])
    if "multipleOf" in schema:
        weight += _NUMBER_WEIGHT
    weight += _BOUND_WEIGHT * sum(keyword in schema for keyword in _BOUNDS)
    if "format" in schema:
        weight += _FORMAT_WEIGHT
    patterns = [*schema.get("patternProperties", ()), *([schema["pattern"]] if "pattern" in schema else ())]
    return weight + sum(_STATE_WEIGHT * check_pattern(pattern) for pattern in patterns)


def _member_weight(member: Any) -> int:
    """What comparing a value with a member of an enum costs; strings are cheap, numbers are not."""
    waiting, weight = [member], 0
    while waiting:
        value = waiting.pop()
        weight += _NUMBER_WEIGHT if isinstance(value, (int, float)) and not isinstance(value, bool) else 2
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return weight
