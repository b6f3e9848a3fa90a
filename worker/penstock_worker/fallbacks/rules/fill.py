"""Fills a schema from a page, from the root down."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from penstock_worker.fallbacks.rules.names import Names, Query
from penstock_worker.fallbacks.rules.page import Page, Table
from penstock_worker.fallbacks.rules.scalars import Scalars, Siblings
from penstock_worker.fallbacks.rules.shapes import Node, Shape, shapes

_DEEPEST: Final = 6
_MOST_PROPERTIES: Final = 200  # looked for in all; a schema may nest them
_MOST_ITEMS: Final = 500
_MOST_TABLES: Final = 200
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+(?:and|und|et|y)\s+")
_SCALAR: Final = frozenset({"string", "number", "integer", "boolean", "enum", "any"})


class _Missing:
    """The text does not say. (None would be a value: JSON's null.)"""


MISSING: Final = _Missing()


class Filler:
    """Fills one schema from one text; knows whether the text gave anything at all."""

    def __init__(self, root: Node, page: Page, names: Names, scalars: Scalars) -> None:
        self._root = root
        self._page = page
        self._names = names
        self._scalars = scalars
        self._left = _MOST_PROPERTIES
        self._ways: dict[int, tuple[object, tuple[list[Shape], bool]]] = {}
        self.found = 0
        """How many values the text gave."""

    def root(self) -> object:
        """The whole answer, or MISSING."""
        return self._fill(self._root, self._names.query("", {}), (), self._scalars.siblings(()))

    def _fill(self, node: object, query: Query, path: tuple[str, ...], siblings: Siblings) -> object:
        """A value for *node*, null where only that is left, or MISSING."""
        ways, nullable = self._shapes(node)
        for way in ways:
            value = self._by_kind(way, query, path, siblings)
            if value is not MISSING:
                return value
        return None if nullable else MISSING

    def _by_kind(self, way: Shape, query: Query, path: tuple[str, ...], siblings: Siblings) -> object:
        if way.kind == "const":
            return way.node["const"]
        if way.kind == "object":
            return self._object(way.node, path, siblings.objects) if len(path) < _DEEPEST else MISSING
        if way.kind == "array":
            return self._array(way.node, query, path, siblings)
        if way.kind not in _SCALAR:
            return MISSING
        value = self._scalars.find(way.kind, way.node, query, siblings)
        self.found += value is not None
        return MISSING if value is None else value

    def _object(self, node: Node, path: tuple[str, ...], objects: frozenset[str]) -> object:
        properties, required = _properties(node), _required(node)
        elsewhere = objects - self._names.terms_of_name(" ".join(path))
        queries = {
            name: self._names.query(name, self._first_way(inner), path, elsewhere) for name, inner in properties.items()
        }
        asked = ((queries[name], self._first_way(inner)) for name, inner in properties.items())
        siblings = self._scalars.siblings(asked, self._terms_of_objects(properties))
        before = self.found
        filled: dict[str, object] = {}
        for name, inner in properties.items():
            value = self._property(inner, queries[name], (*path, name), siblings, needed=name in required)
            if value is not MISSING:
                filled[name] = value
        complete = all(name in filled for name in required)
        return filled if complete and self.found > before else MISSING

    def _terms_of_objects(self, properties: Mapping[str, Any]) -> frozenset[str]:
        names = (
            name for name, inner in properties.items() if any(way.kind == "object" for way in self._shapes(inner)[0])
        )
        return frozenset(term for name in names for term in self._names.terms_of_name(name))

    def _property(
        self, node: object, query: Query, path: tuple[str, ...], siblings: Siblings, *, needed: bool
    ) -> object:
        self._left -= 1
        if self._left < 0:
            return MISSING
        ways, _ = self._shapes(node)
        if not needed and any(way.kind == "const" for way in ways):
            return MISSING
        value = self._fill(node, query, path, siblings)
        return [] if value is MISSING and needed and _may_be_empty(ways) else value

    def _shapes(self, node: object) -> tuple[list[Shape], bool]:
        known = self._ways.get(id(node))
        if known is None or known[0] is not node:
            known = self._ways[id(node)] = (node, shapes(self._root, node))
        return known[1]

    def _first_way(self, node: object) -> Node:
        ways, _ = self._shapes(node)
        return ways[0].node if ways else {}

    def _array(self, node: Node, query: Query, path: tuple[str, ...], siblings: Siblings) -> object:
        ways, _ = self._shapes(node.get("items"))
        for way in ways:
            items = self._rows(way.node, query, path) if way.kind == "object" else self._list(way, query, siblings)
            items = _sized(items, node)
            if items:
                self.found += len(items)
                return items
        return MISSING

    def _rows(self, node: Node, query: Query, path: tuple[str, ...]) -> list[object]:
        """One object per row of the table whose columns fit best."""
        properties, required = _properties(node), _required(node)
        queries = {name: self._names.query(name, self._first_way(inner), path) for name, inner in properties.items()}
        ranked = [(self._columns(table, queries), table) for table in self._page.tables[:_MOST_TABLES]]
        ranked = [(columns, table) for columns, table in ranked if len(columns) >= min(2, len(properties)) > 0]
        if not ranked:
            return []
        columns, table = max(ranked, key=lambda each: (len(each[0]), self._names.likeness(each[1].section, query)))
        cells = ({name: row[at] for name, at in columns.items()} for row in table.rows[:_MOST_ITEMS])
        rows = (self._row(row, properties, queries) for row in cells)
        return [row for row in rows if _says_something(row) and all(name in row for name in required)]

    def _columns(self, table: Table, queries: Mapping[str, Query]) -> dict[str, int]:
        """Property name to the number of the column whose header is likest; each column is used once."""
        likely = sorted(
            (
                (-self._names.likeness(header, query), at, name)
                for at, header in enumerate(table.header[:40])
                for name, query in queries.items()
            ),
        )
        columns: dict[str, int] = {}
        for like, at, name in likely:
            if like < 0 and name not in columns and at not in columns.values():
                columns[name] = at
        return columns

    def _row(
        self, cells: Mapping[str, str], properties: Mapping[str, Any], queries: Mapping[str, Query]
    ) -> dict[str, object]:
        values = {name: self._cell(cells.get(name, ""), inner, queries[name]) for name, inner in properties.items()}
        return {name: value for name, value in values.items() if value is not MISSING}

    def _cell(self, cell: str, node: object, query: Query) -> object:
        ways, nullable = self._shapes(node)
        for way in ways:
            if way.kind == "const":
                return way.node["const"]
            value = self._first(way, cell, query) if cell and way.kind in _SCALAR else MISSING
            if value is not MISSING:
                return value
        return None if nullable else MISSING

    def _list(self, way: Shape, query: Query, siblings: Siblings) -> list[object]:
        """Values below the heading or behind the label that means *query*, or all of a format."""
        if way.kind not in _SCALAR:
            return []
        for written in self._enumerations(query, siblings):
            read = (self._first(way, each, query) for each in written)
            if values := [value for value in read if value is not MISSING]:
                return values
        if way.kind == "enum":
            return list(self._scalars.mentioned(way.node))
        found = dict.fromkeys(self._scalars.all_of_format(way.node, query))
        return [each for each in found if self._scalars.fits(way.node, each)]

    def _first(self, way: Shape, written: str, query: Query) -> object:
        found = self._scalars.read(way.kind, way.node, written.strip(), query)
        return next((value for value in found if self._scalars.fits(way.node, value)), MISSING)

    def _enumerations(self, query: Query, siblings: Siblings) -> Iterator[list[str]]:
        listed = [(self._names.likeness(each.label, query), each.items) for each in self._page.listings[:_MOST_TABLES]]
        for _, items in sorted((each for each in listed if each[0]), key=lambda each: -each[0]):
            yield items[:_MOST_ITEMS]
        for pair in self._scalars.pairs(query, siblings):
            yield [part for part in _SEPARATOR.split(pair.value.rstrip("."))[:_MOST_ITEMS] if part]


def _properties(node: Node) -> dict[str, Any]:
    found = node.get("properties")
    return dict(islice(found.items(), _MOST_PROPERTIES)) if isinstance(found, Mapping) else {}


def _required(node: Node) -> list[str]:
    names = node.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _may_be_empty(ways: Sequence[Shape]) -> bool:
    """Whether an empty list will do: the text gives nothing for it."""
    return any(way.kind == "array" and not way.node.get("minItems") for way in ways)


def _says_something(row: Mapping[str, object]) -> bool:
    return any(value is not None for value in row.values())


def _sized(items: list[object], node: Node) -> list[object]:
    if node.get("uniqueItems") is True:
        items = [item for at, item in enumerate(items) if item not in items[:at]]
    most = node.get("maxItems")
    return items[: int(most)] if isinstance(most, int | float) else items
