"""A JSON Schema in the subset that a provider understands, and what became of the rest.

What a subset cannot say is left out and named, and put into the description for the model to read: the full schema
is checked locally afterwards, whatever the provider promised. What it cannot express at all (free-form maps, values
of any type, several ``allOf``) makes the schema "not lowerable"; it then goes into the prompt instead. The subsets
are in ``dialects``.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from penstock_worker.llm.dialects import OPENAI, Dialect

_ANNOTATIONS = frozenset(
    {"title", "$schema", "$id", "$comment", "examples", "default", "deprecated", "readOnly", "writeOnly"}
    | {"$defs", "definitions"}
)
_STRUCTURE = frozenset(
    {"type", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf"}
    | {"allOf", "$ref", "format", "pattern"}
)
_TOLD = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern"}
    | {"minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "format", "enum", "const"}
)
"""Rules that a model can follow when it reads them."""

_NULL = {"type": "null"}


class Lowered(NamedTuple):
    """A schema for the provider, and what became of the rest."""

    schema: dict[str, Any] | None
    """None when the subset cannot express it."""
    changes: tuple[str, ...]
    """What the provider is not told, each as JSON pointer and keyword; or the one reason why it is None."""


class _NotLowerableError(Exception):
    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or '/'} {reason}")


def lower_schema(schema: Mapping[str, Any], dialect: Dialect = OPENAI) -> Lowered:
    """Put *schema* into the subset of *dialect*. Changes nothing in *schema*, raises nothing.

    For equal schemas the work is done once: what comes back is not to be changed.
    """
    try:
        return _lowered(orjson.dumps(schema), dialect)
    except TypeError:  # a number that orjson does not take
        return _lower(schema, dialect)


@lru_cache(maxsize=512)
def _lowered(text: bytes, dialect: Dialect) -> Lowered:
    return _lower(orjson.loads(text), dialect)


def _lower(schema: Mapping[str, Any], dialect: Dialect) -> Lowered:
    work = _Lowering(dialect)
    try:
        return Lowered(work.root(schema), tuple(work.changes))
    except _NotLowerableError as error:
        return Lowered(None, (str(error),))


class _Lowering:
    def __init__(self, dialect: Dialect) -> None:
        self.changes: list[str] = []
        self._dialect = dialect
        self._properties = 0
        self._optional = 0
        self._unions = 0
        self._enum_values = 0
        self._name_chars = 0

    def root(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        definitions = {**_mapping(schema.get("definitions")), **_mapping(schema.get("$defs"))}
        head: Any = schema
        for _ in range(8):
            name = _definition_name(head.get("$ref")) if isinstance(head, Mapping) else None
            head = definitions.get(name) if name is not None else head
        lowered = self._node(head, "", 1)
        if lowered.get("type") != "object":
            raise _NotLowerableError("", "is not an object")
        if definitions and not self._dialect.recursion and _is_recursive(schema, definitions):
            raise _NotLowerableError("", "refers to itself")
        if definitions:
            lowered["$defs"] = {
                self._name(name): self._node(sub, f"/$defs/{name}", 1) for name, sub in definitions.items()
            }
        return lowered

    def _node(self, schema: Any, at: str, level: int) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            raise _NotLowerableError(at, "allows anything" if schema is True else "allows nothing")
        if level > self._dialect.max_levels:
            raise _NotLowerableError(at, f"is nested deeper than {self._dialect.max_levels} levels")
        schema = _merge_single_all_of(schema, at)
        if "$ref" in schema:
            return self._reference(schema, at)
        told = len(self.changes)
        lowered = self._rules(schema, at, level)
        return _with_words(lowered, self._dropped(schema, at, told))

    def _rules(self, schema: Mapping[str, Any], at: str, level: int) -> dict[str, Any]:
        lowered = {key: value for key, value in schema.items() if self._dialect.keeps(key, value)}
        self._drop(schema, at)
        branches = schema.get("anyOf", schema.get("oneOf"))
        if branches is not None:
            return {**lowered, "anyOf": self._union(schema, branches, at, level)}
        if "enum" in schema or "const" in schema:
            return {**lowered, **self._enum(schema, at)}
        return {**lowered, **self._typed(schema, at, level)}

    def _dropped(self, schema: Mapping[str, Any], at: str, since: int) -> list[str]:
        """The rules of this very node that were left out, in words."""
        keys = [change.removeprefix(f"{at}/") for change in self.changes[since:]]
        return [f"{key}: {json.dumps(schema[key])[:200]}" for key in keys if key in _TOLD and key in schema]

    def _typed(self, schema: Mapping[str, Any], at: str, level: int) -> dict[str, Any]:
        kind = schema.get("type") or _implied_type(schema)
        if kind is None:
            raise _NotLowerableError(at, "allows any type")
        lowered: dict[str, Any] = {"type": kind}
        kinds = [kind] if isinstance(kind, str) else list(kind)
        self._count(unions=len(kinds) > 1)
        if "object" in kinds:
            lowered |= self._object(schema, at, level)
        if "array" in kinds:
            if not isinstance(schema.get("items"), Mapping):
                raise _NotLowerableError(at, "has items of any type")
            lowered["items"] = self._node(schema["items"], f"{at}/items", level + 1)
        return lowered | self._text_rules(schema, at)

    def _object(self, schema: Mapping[str, Any], at: str, level: int) -> dict[str, Any]:
        properties = _mapping(schema.get("properties"))
        extra = schema.get("additionalProperties", True)
        if isinstance(extra, Mapping) or (extra is True and not properties):
            raise _NotLowerableError(at, "is a map with free names")
        required = set(schema.get("required", ()))
        if required - properties.keys():
            raise _NotLowerableError(at, "requires a property that it does not describe")
        if schema.get("additionalProperties") is True:
            self.changes.append(f"{at}/additionalProperties")
        lowered = {}
        for name, sub in properties.items():
            inner = self._node(sub, f"{at}/properties/{name}", level + 1)
            nullable = self._dialect.all_required and name not in required
            lowered[self._name(name)] = _nullable(inner) if nullable else inner
        self._count(properties=len(properties), optional=len(properties) - len(required))
        needed = [name for name in properties if self._dialect.all_required or name in required]
        return {"properties": lowered, "required": needed, "additionalProperties": False}

    def _union(self, schema: Mapping[str, Any], branches: Any, at: str, level: int) -> list[dict[str, Any]]:
        if "oneOf" in schema:
            if "anyOf" in schema:
                raise _NotLowerableError(at, "has both anyOf and oneOf")
            self.changes.append(f"{at}/oneOf")
        beside = _STRUCTURE - {"anyOf", "oneOf", "type"}
        if any(key in schema for key in beside):
            raise _NotLowerableError(at, "has rules beside a union")
        self._count(unions=1)
        return [self._node(branch, f"{at}/anyOf/{index}", level) for index, branch in enumerate(branches)]

    def _enum(self, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        values = [schema["const"]] if "const" in schema else list(schema["enum"])
        if any(isinstance(value, dict | list) for value in values):
            raise _NotLowerableError(at, "has an enum of objects or arrays")
        self._enum_values += len(values)
        self._name_chars += sum(len(value) for value in values if isinstance(value, str))
        kinds = list(dict.fromkeys(_type_name(value) for value in values))
        self._count(unions=len(kinds) > 1)
        lowered: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
        if not self._dialect.enum_types.issuperset(kinds):
            self.changes.append(f"{at}/{'const' if 'const' in schema else 'enum'}")
            return lowered
        return {**lowered, "enum": values}

    def _reference(self, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        target = schema["$ref"]
        if target == "#":
            if not self._dialect.recursion:
                raise _NotLowerableError(at, "refers to itself")
            return {"$ref": "#"}
        name = _definition_name(target)
        if name is None:
            raise _NotLowerableError(at, "refers to something else than a definition")
        self.changes += [f"{at}/{key}" for key in schema if key != "$ref" and key not in _ANNOTATIONS | {"description"}]
        return {"$ref": f"#/$defs/{name}"}

    def _text_rules(self, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        kept = {}
        for key, fits in (("format", self._dialect.formats.__contains__), ("pattern", self._dialect.takes_pattern)):
            if key in schema:
                if fits(schema[key]):
                    kept[key] = schema[key]
                else:
                    self.changes.append(f"{at}/{key}")
        return kept

    def _drop(self, schema: Mapping[str, Any], at: str) -> None:
        known = _ANNOTATIONS | _STRUCTURE
        self.changes += [
            f"{at}/{key}" for key, value in schema.items() if key not in known and not self._dialect.keeps(key, value)
        ]

    def _name(self, name: str) -> str:
        self._name_chars += len(name)
        return name

    def _count(self, *, properties: int = 0, optional: int = 0, unions: int = 0) -> None:
        self._properties += properties
        self._optional += optional
        self._unions += unions
        if self._dialect.is_passed(self._properties, self._enum_values, self._name_chars, self._optional, self._unions):
            raise _NotLowerableError("", "is larger than the provider accepts")


def _merge_single_all_of(schema: Mapping[str, Any], at: str) -> Mapping[str, Any]:
    """pydantic writes ``{"allOf": [{"$ref": ...}], "description": ...}`` for a described reference."""
    parts = schema.get("allOf")
    if parts is None:
        return schema
    rest = {key: value for key, value in schema.items() if key != "allOf"}
    if len(parts) != 1 or not isinstance(parts[0], Mapping):
        raise _NotLowerableError(at, "has several allOf")
    if rest.keys() & (_STRUCTURE | parts[0].keys()) - _ANNOTATIONS - {"description"}:
        raise _NotLowerableError(at, "has rules beside allOf")
    return {**rest, **parts[0]}


def _with_words(lowered: dict[str, Any], rules: list[str]) -> dict[str, Any]:
    if not rules:
        return lowered
    said = lowered.get("description")
    words = f"({'; '.join(rules)})"
    return {**lowered, "description": f"{said} {words}" if isinstance(said, str) and said else words}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if _allows_null(schema):
        return schema
    branches = schema.get("anyOf")
    if branches is not None:
        return {**schema, "anyOf": [*branches, _NULL]}
    return {"anyOf": [schema, _NULL]}


def _allows_null(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    if kind == "null" or (isinstance(kind, list) and "null" in kind):
        return "enum" not in schema or None in schema["enum"]
    return any(_allows_null(branch) for branch in schema.get("anyOf", ()))


def _implied_type(schema: Mapping[str, Any]) -> str | None:
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else None


def _is_recursive(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    """Whether a definition can be reached from itself."""
    uses = {name: _references(sub) for name, sub in definitions.items()}
    reached = {name: set(names) for name, names in uses.items()}
    for _ in definitions:
        for names in reached.values():
            names |= {further for name in tuple(names) for further in uses.get(name, ())}
    return any(name in names for name, names in reached.items()) and bool(_references(schema))


def _references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for item in schema for name in _references(item)}
    if not isinstance(schema, Mapping):
        return set()
    own = {_definition_name(schema.get("$ref"))} - {None}
    return {name for name in own if name} | {name for item in schema.values() for name in _references(item)}


def _definition_name(reference: object) -> str | None:
    if not isinstance(reference, str):
        return None
    match = re.fullmatch(r"#/(?:\$defs|definitions)/([^/]+)", reference)
    return match[1] if match else None


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "integer" if isinstance(value, int) else "number"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
