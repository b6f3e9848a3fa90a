"""Nulls that stand for "absent", taken out of an answer again.

Where a provider requires every property, an optional one comes back as null. A null is removed if the property
is optional and its schema has no place for null; then the answer is checked against the schema as it was given.
"""

from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 64
_MAX_HOPS = 32


def drop_absent(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return *value* without nulls that stand for absent optional properties.

    Does nothing to a value that has none, so it may be applied to any answer, and twice. Neither argument is
    changed. Below 64 levels nothing is touched.
    """
    return _Dropping(schema).node(value, schema, 0)


class _Dropping:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def node(self, value: Any, schema: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH or not isinstance(value, dict | list):
            return value
        plain = self._resolve(schema, value)
        if isinstance(value, list):
            items = plain.get("items")
            return [self.node(item, items, depth + 1) for item in value]
        properties = _mapping(plain.get("properties"))
        required = plain.get("required", ())
        return {
            name: self.node(item, properties.get(name), depth + 1)
            for name, item in value.items()
            if not (item is None and self._stands_for_absent(name, properties, required))
        }

    def _stands_for_absent(self, name: str, properties: Mapping[str, Any], required: Any) -> bool:
        return name in properties and name not in required and not self._takes_null(properties[name], 0)

    def _takes_null(self, schema: Any, hops: int) -> bool:
        if not isinstance(schema, Mapping) or hops > _MAX_HOPS:
            return schema is not False
        if "$ref" in schema:
            return self._takes_null(self._look_up(schema["$ref"]), hops + 1)
        if "allOf" in schema and not all(self._takes_null(part, hops + 1) for part in schema["allOf"]):
            return False
        branches = schema.get("anyOf", schema.get("oneOf"))
        if branches is not None and not any(self._takes_null(branch, hops + 1) for branch in branches):
            return False
        return _type_takes_null(schema)

    def _resolve(self, schema: Any, value: Any) -> Mapping[str, Any]:
        """The object or array schema that *value* is meant to fit, through references and unions."""
        for _ in range(_MAX_HOPS):
            if not isinstance(schema, Mapping):
                return {}
            if "$ref" in schema:
                schema = self._look_up(schema["$ref"])
            elif "properties" in schema or "items" in schema:
                return schema
            elif "allOf" in schema and len(schema["allOf"]) == 1:
                schema = schema["allOf"][0]
            elif "anyOf" in schema or "oneOf" in schema:
                schema = self._branch(value, schema.get("anyOf", schema.get("oneOf")))
            else:
                return schema
        return {}

    def _branch(self, value: Any, branches: Any) -> Any:
        plain = [self._resolve(branch, value) for branch in branches]
        return next((branch for branch in plain if self._fits(value, branch)), {})

    def _fits(self, value: Any, schema: Mapping[str, Any]) -> bool:
        if isinstance(value, list):
            return "items" in schema
        properties = _mapping(schema.get("properties"))
        if not properties or not value.keys() <= properties.keys():
            return False
        if not set(schema.get("required", ())) <= value.keys():
            return False
        return all(self._tag_fits(value[name], properties[name]) for name in value)

    def _tag_fits(self, value: Any, schema: Any) -> bool:
        """Whether a const or enum, the usual tag of a union's branch, permits *value*."""
        plain = self._look_up(schema["$ref"]) if isinstance(schema, Mapping) and "$ref" in schema else schema
        fixed = _mapping(plain)
        if value is None or not ("const" in fixed or "enum" in fixed):
            return True
        return bool(value == fixed["const"] if "const" in fixed else value in fixed["enum"])

    def _look_up(self, reference: Any) -> Any:
        if reference == "#":
            return self._root
        kind, _, name = str(reference).removeprefix("#/").partition("/")
        return _mapping(self._root.get(kind)).get(name)


def _type_takes_null(schema: Mapping[str, Any]) -> bool:
    if "const" in schema and schema["const"] is not None:
        return False
    if "enum" in schema and None not in schema["enum"]:
        return False
    kind = schema.get("type", "null")
    return kind == "null" or (isinstance(kind, list) and "null" in kind)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
