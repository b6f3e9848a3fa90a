"""The schema of what may be found in a part of a text: that of the whole, in which nothing has to be there.

Only what belongs to the text as a whole is loosened: members of objects, from the root down. An entry of a list is a
unit, which is found whole or not at all, so what stands in ``items`` stays as it is. The result of the merge is checked
against the schema as it was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_WHOLE_ONLY = frozenset(
    {"required", "dependentRequired", "dependentSchemas", "minProperties", "minItems", "contains", "minContains"}
    | {"maxContains", "if", "then", "else", "not"}
)
"""Rules that a part may break though the whole keeps them."""

_DEFINITIONS = ("$defs", "definitions")
_PART = "_part"
"""Ends the name of a definition's loosened copy."""


def partial_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema for a part: every member may be left out or be null. Changes nothing in *schema*."""
    work = _Loosening(schema)
    loose: dict[str, Any] = work.node(dict(schema))
    kept = {key: dict(schema[key]) for key in _DEFINITIONS if key in schema}
    while work.wanted:
        where, name = work.wanted.pop()
        kept[where][f"{name}{_PART}"] = work.node(schema[where][name])
    return {**loose, **kept}


class _Loosening:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._seen: set[tuple[str, str]] = set()
        self.wanted: set[tuple[str, str]] = set()
        """Definitions of which a loosened copy is still to be made."""

    def node(self, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        loose = {key: value for key, value in schema.items() if key not in _WHOLE_ONLY}
        if "$ref" in loose:
            loose["$ref"] = self._reference(loose["$ref"])
        if "properties" in loose:
            loose["properties"] = {name: _or_null(self.node(part)) for name, part in loose["properties"].items()}
        if "oneOf" in loose:  # loosened, more than one may fit
            choice = {"anyOf": loose.pop("oneOf")}
            loose |= {"allOf": [*loose.get("allOf", ()), choice]} if "anyOf" in loose else choice
        for key in ("anyOf", "allOf"):
            if key in loose:
                loose[key] = [self.node(part) for part in loose[key]]
        return loose

    def _reference(self, to: str) -> str:
        where, _, name = to.removeprefix("#/").partition("/")
        plain = name.replace("~1", "/").replace("~0", "~")
        if where not in _DEFINITIONS or plain not in self._schema.get(where, {}):
            return to
        if (where, plain) not in self._seen:
            self._seen.add((where, plain))
            self.wanted.add((where, plain))
        return f"{to}{_PART}"


def _or_null(schema: Any) -> Any:
    if not isinstance(schema, Mapping) or schema.get("type") == "null":
        return schema
    kind = schema.get("type")
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    if kinds and not schema.keys() & {"enum", "const", "anyOf", "allOf", "$ref"}:
        return schema if "null" in kinds else {**schema, "type": [*kinds, "null"]}
    told = {"description": schema["description"]} if "description" in schema else {}
    return {**told, "anyOf": [schema, {"type": "null"}]}


def filled(value: Any, schema: Mapping[str, Any]) -> Any:
    """*value* with null or an empty list for what the whole must have and no part had, where its schema allows that."""
    return _filled(value, schema, schema)


def _filled(value: Any, node: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    result = dict(value)
    for branch in branches(node, root):
        properties = branch.get("properties", {})
        for name in branch.get("required", ()):
            if result.get(name) is None:
                nothing = list(_nothings(properties.get(name, True), root))
                if nothing and (name not in result or None not in nothing):
                    result[name] = nothing[0]
        for name, part in properties.items():
            if name in result:
                result[name] = _filled(result[name], part, root)
                if result[name] is None and None not in list(_nothings(part, root)):
                    del result[name]
    return result


def _nothings(node: Any, root: Mapping[str, Any]) -> Iterator[Any]:
    """What can stand for nothing: null, then an empty list."""
    found = [branch for branch in branches(node, root) if not branch.keys() & {"enum", "const"} or _has_null(branch)]
    if node is True or any("null" in _kinds(branch) for branch in found):
        yield None
    if any("array" in _kinds(branch) and not branch.get("minItems") for branch in found):
        yield []


def _has_null(branch: Mapping[str, Any]) -> bool:
    return None in branch.get("enum", ()) or branch.get("const", 0) is None


def _kinds(branch: Mapping[str, Any]) -> list[str]:
    kind = branch.get("type")
    if kind is None and _has_null(branch):
        return ["null"]
    return [kind] if isinstance(kind, str) else list(kind or ())


def branches(node: Any, root: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """*node* and what it refers to, or leaves to choose from; each is a schema without reference."""
    if not isinstance(node, Mapping) or depth > 16:
        return
    yield node
    if isinstance(node.get("$ref"), str):
        yield from branches(_referred(node["$ref"], root), root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        for part in node.get(key, ()):
            yield from branches(part, root, depth + 1)


def _referred(to: str, root: Mapping[str, Any]) -> Any:
    if to == "#":
        return root
    where, _, name = to.removeprefix("#/").partition("/")
    return root.get(where, {}).get(name.replace("~1", "/").replace("~0", "~"), True)
