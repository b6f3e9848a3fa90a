"""The gate for JSON Schemas that come from callers: what passes is safe to compile and to validate with.

A schema is code that somebody else wrote. Unchecked it can fetch URLs, run for ever, and, by one misspelt
keyword, accept everything. The gate admits a subset of JSON Schema 2020-12 in which every keyword is
enforced or is a plain annotation:

1. the schema is plain JSON, at most 64 KiB and 32 levels deep;
2. every keyword is known, in its place, and has a value of its type and within its limit;
3. references go to ``#`` or to ``#/$defs/<name>`` (``#/definitions/<name>``), never to a URL; a cycle of them
   must pass through a keyword that steps into the instance; written out they have at most 10,000 subschemas,
   counted without writing them out;
4. patterns are of the kind described in ``_patterns``, formats are the enforced ones.

``default``, ``examples`` and the like are annotations: they are never applied to an answer. Nothing here
reads a file or opens a connection, and hostile input costs at most some tens of milliseconds.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias
from urllib.parse import unquote

import orjson

from penstock_schemas._patterns import PatternError, check_pattern
from penstock_schemas._schema_graph import Path, Units, written_out
from penstock_schemas._schema_rules import (
    ANNOTATIONS,
    FORMATS,
    VALUE_RULES,
    check_bounds,
    members,
    properties,
    refuse,
)
from penstock_schemas.errors import SchemaRejectedError
from penstock_schemas.strict_json import StrictJsonError, check_value

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 32
MAX_SUBSCHEMAS: Final = 10_000
"""Subschemas with all references written out; a recursive reference counts once."""
MAX_PATTERN_CHARACTERS: Final = 8_192
"""Characters of all patterns together."""
MAX_PATTERN_STATES: Final = 100_000
"""Estimated automaton states of all patterns together: what compiling them costs."""
_MAX_PARTS: Final = 33_000

DIALECTS: Final = {
    "https://json-schema.org/draft/2020-12/schema": frozenset[str](),
    "https://json-schema.org/draft/2019-09/schema": frozenset({"prefixItems"}),
    "http://json-schema.org/draft-07/schema": frozenset(
        {"prefixItems", "minContains", "maxContains", "dependentRequired", "dependentSchemas"}
    ),
}
"""Supported ``$schema`` -> keywords that do not exist there; what is left means the same in all three."""

IN_PLACE_ONE: Final = frozenset({"not", "if", "then", "else"})
IN_PLACE_LIST: Final = frozenset({"allOf", "anyOf", "oneOf"})
IN_PLACE_MAP: Final = frozenset({"dependentSchemas"})
STEP_ONE: Final = frozenset({"additionalProperties", "propertyNames", "items", "contains"})
STEP_LIST: Final = frozenset({"prefixItems"})
STEP_MAP: Final = frozenset({"properties", "patternProperties"})
"""Keywords that hold subschemas: applied to the instance itself (in place) or to its parts (step)."""
DEFINITIONS: Final = ("$defs", "definitions")

_HINTS: Final = {
    "nullable": 'use "type": ["...", "null"]',
    "example": "use examples, a list",
    "id": "remove it",
    "$anchor": "refer by #/$defs/<name>",
    "additionalItems": "use prefixItems and items",
    "dependencies": "use dependentRequired or dependentSchemas",
    "$dynamicRef": "use $ref",
    "$dynamicAnchor": "use $ref and #/$defs/<name>",
    "$recursiveRef": "use $ref",
    "$recursiveAnchor": "use $ref",
    "unevaluatedProperties": "use additionalProperties",
    "unevaluatedItems": "use items",
    "contentSchema": "it would not be enforced; remove it",
    "contentMediaType": "it would not be enforced; remove it",
    "contentEncoding": "it would not be enforced; remove it",
    "$vocabulary": "remove it",
}
_LOCAL_REF: Final = re.compile(r"#/(\$defs|definitions)/([^/]+)")

__all__ = ["check_schema", "FORMATS", "DIALECTS"]

_Rule: TypeAlias = "Callable[[_Gate, Any, Path], None]"


def check_schema(schema: object) -> None:
    """Raise SchemaRejectedError unless *schema* is in the supported subset.

    The error's ``field`` is the place, ``schema#`` and a JSON pointer, and its message says what to do. The
    schemas that pydantic's ``model_json_schema()`` makes of ordinary models pass. A schema without any
    constraint is refused, for it would accept every answer.
    """
    if not isinstance(schema, dict):
        refuse(None, "must be an object; boolean schemas are allowed inside it only")
    try:
        check_value(schema, max_depth=MAX_DEPTH, max_nodes=_MAX_PARTS)
    except StrictJsonError as error:
        place = f" (at {error.path})" if error.path else ""
        raise SchemaRejectedError(f"is not usable JSON: {error.message}{place}", field="schema") from None
    if len(orjson.dumps(schema)) > MAX_BYTES:
        refuse(None, f"is larger than {MAX_BYTES} bytes")
    if not schema.keys() - ANNOTATIONS.keys() - set(DEFINITIONS):
        refuse(None, 'has no constraint, so every answer would pass; begin with "type": "object"')
    gate = _Gate(schema)
    gate.run()
    gate.check_references()


class _Gate:
    """One check of one schema: a walk over its subschemas, then a look at its references."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self.not_in_dialect = frozenset[str]()
        self.pattern_characters = 0
        self.pattern_states = 0
        self.subschemas = 0
        self.units = Units()
        self.unit = "#"
        self.in_place = True
        self.waiting: list[tuple[Any, Path, str, bool]] = []

    def run(self) -> None:
        self.read_dialect()
        self.waiting.append((self.schema, None, "#", True))
        while self.waiting:
            schema, path, self.unit, self.in_place = self.waiting.pop()
            self.subschemas += 1
            if self.subschemas > MAX_SUBSCHEMAS:
                refuse(None, f"has more than {MAX_SUBSCHEMAS} subschemas")
            self.units.count(self.unit)
            if isinstance(schema, dict):
                self.check_subschema(schema, path)
            elif not isinstance(schema, bool):
                refuse(path, "must be a schema: an object, true or false")

    def read_dialect(self) -> None:
        dialect = self.schema.get("$schema", next(iter(DIALECTS)))
        name = dialect.removesuffix("#") if isinstance(dialect, str) else ""
        if name not in DIALECTS:
            refuse((None, "$schema"), f"is not supported; supported are {', '.join(DIALECTS)}")
        self.not_in_dialect = DIALECTS[name]

    def check_subschema(self, schema: dict[str, Any], path: Path) -> None:
        for keyword, value in schema.items():
            rule = _RULES.get(keyword)
            if rule is None:
                _refuse_unknown(keyword, path)
            if keyword in self.not_in_dialect:
                refuse((path, keyword), "does not exist in the dialect that $schema names")
            rule(self, value, (path, keyword))
        check_bounds(schema, path)
        if "$ref" in schema and "dependentRequired" in self.not_in_dialect:
            beside = schema.keys() - ANNOTATIONS.keys() - set(DEFINITIONS) - {"$ref"}
            if beside:
                refuse((path, min(beside)), "is ignored beside $ref in draft-07; wrap the $ref in allOf")

    def add(self, schema: Any, path: Path, *, in_place: bool) -> None:
        self.waiting.append((schema, path, self.unit, in_place and self.in_place))

    def check_references(self) -> None:
        for path, target in self.units.references():
            if target not in self.units:
                refuse(path, "refers to a definition that does not exist")
        cycle = self.units.cycle_in_place()
        if cycle is not None:
            refuse(cycle, "refers to itself without stepping into a property or an item: it has no end")
        if written_out(self.units, "#") > MAX_SUBSCHEMAS:
            refuse(None, f"has more than {MAX_SUBSCHEMAS} subschemas with its references written out")


def _refuse_unknown(keyword: str, path: Path) -> NoReturn:
    hint = _HINTS.get(keyword)
    if hint is None:
        near = difflib.get_close_matches(keyword[:40], _RULES, n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it, or put it below properties if it is a field"
    refuse((path, keyword), f"is not a supported keyword: {hint}")


def _of_value(check: Callable[[Any, Path], None]) -> _Rule:
    def rule(gate: _Gate, value: Any, path: Path) -> None:
        check(value, path)

    return rule


def _one(*, in_place: bool) -> _Rule:
    def rule(gate: _Gate, value: Any, path: Path) -> None:
        if isinstance(value, list):
            refuse(path, "must be one schema; for a schema per position use prefixItems")
        gate.add(value, path, in_place=in_place)

    return rule


def _list(*, in_place: bool) -> _Rule:
    def rule(gate: _Gate, value: Any, path: Path) -> None:
        for position, schema in enumerate(members(value, path)):
            gate.add(schema, (path, position), in_place=in_place)

    return rule


def _map(*, in_place: bool) -> _Rule:
    def rule(gate: _Gate, value: Any, path: Path) -> None:
        for name, schema in properties(value, path).items():
            gate.add(schema, (path, name), in_place=in_place)

    return rule


def _pattern_properties(gate: _Gate, value: Any, path: Path) -> None:
    for name, schema in properties(value, path).items():
        _pattern(gate, name, (path, name))
        gate.add(schema, (path, name), in_place=False)


def _definitions(gate: _Gate, value: Any, path: Path) -> None:
    assert path is not None
    if path[0] is not None:
        refuse(path, "is supported at the root only; move the definitions there")
    for name, schema in properties(value, path).items():
        unit = f"#/{path[1]}/{name}"
        gate.units.add(unit)
        gate.waiting.append((schema, (path, name), unit, True))


def _root_text(gate: _Gate, value: Any, path: Path) -> None:
    if path is None or path[0] is not None:
        refuse(path, "is allowed at the root only")
    if not isinstance(value, str):
        refuse(path, "must be a string")


def _ref(gate: _Gate, value: Any, path: Path) -> None:
    found = _LOCAL_REF.fullmatch(value) if isinstance(value, str) else None
    if value != "#" and found is None:
        refuse(path, "must be # or #/$defs/<name>: nothing else is ever fetched or followed")
    target = value
    if found is not None:
        target = f"#/{found[1]}/{_unescaped(found[2])}"
    gate.units.refer(gate.unit, target, path, in_place=gate.in_place)


def _unescaped(name: str) -> str:
    return unquote(name).replace("~1", "/").replace("~0", "~")


def _pattern(gate: _Gate, value: Any, path: Path) -> None:
    if not isinstance(value, str):
        refuse(path, "must be a string")
    gate.pattern_characters += len(value)
    if gate.pattern_characters > MAX_PATTERN_CHARACTERS:
        refuse(path, f"brings the patterns to more than {MAX_PATTERN_CHARACTERS} characters together")
    try:
        gate.pattern_states += check_pattern(value)
    except PatternError as error:
        refuse(path, f"is a pattern that {error}")
    if gate.pattern_states > MAX_PATTERN_STATES:
        refuse(path, "makes the patterns together too large, with their repetitions written out")


_RULES: Final[dict[str, _Rule]] = {
    **{keyword: _of_value(rule) for keyword, rule in VALUE_RULES.items()},
    **dict.fromkeys(("$schema", "$id"), _root_text),
    **dict.fromkeys(IN_PLACE_ONE, _one(in_place=True)),
    **dict.fromkeys(IN_PLACE_LIST, _list(in_place=True)),
    **dict.fromkeys(IN_PLACE_MAP, _map(in_place=True)),
    **dict.fromkeys(STEP_ONE, _one(in_place=False)),
    **dict.fromkeys(STEP_LIST, _list(in_place=False)),
    "properties": _map(in_place=False),
    "patternProperties": _pattern_properties,
    **dict.fromkeys(DEFINITIONS, _definitions),
    "$ref": _ref,
    "pattern": _pattern,
}
