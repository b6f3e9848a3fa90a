"""Completing a value so that it is valid under a JSON Schema.

Parts that are valid are kept; what is missing or invalid is made up: null where allowed, a constant or the
first enum value, an example of the format, an empty string or array, the number nearest to 0 in bounds.
Extra keys that the schema forbids are dropped. A schema nobody can satisfy gives the closest try.
"""

from __future__ import annotations

import math
from typing import Any

import jsonschema_rs

from penstock_simulator.ask import JsonObject
from penstock_simulator.pattern_example import example

MISSING: Any = object()
"""Stands for "no value yet"."""
_MAX_DEPTH = 40

_FORMAT_EXAMPLES = {
    "date-time": "2024-01-01T00:00:00Z",
    "date": "2024-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "name@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "uri-reference": "/",
    "regex": ".*",
    "json-pointer": "",
}


_SPEAKS_OF = {
    "object": {"properties", "required", "minProperties", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems"},
    "string": {"pattern", "format", "minLength", "maxLength"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}


def fill(schema: Any, value: Any = MISSING) -> Any:
    """*value* made valid under *schema*, or a new valid value when it is `MISSING`."""
    root = schema if isinstance(schema, dict) else {}
    return _Filler(root).fill(schema, value, 0)


def is_valid(schema: Any, value: Any) -> bool:
    """Whether *value* satisfies *schema*, formats included; True for a schema that cannot be compiled.

    Never follows a reference to another place.
    """
    try:
        return bool(jsonschema_rs.is_valid(schema, value, offline=True, validate_formats=True))
    except Exception:  # the library's errors have no common base that is public
        return True


def resolved(schema: Any, root: JsonObject) -> Any:
    """*schema* with a local `$ref` followed, siblings laid over it; the schema itself for foreign ones."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(schema, dict) or not str(schema.get("$ref", "")).startswith("#"):
            return schema
        target: Any = root
        for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step, {}) if step and isinstance(target, dict) else target
        siblings = {key: item for key, item in schema.items() if key != "$ref"}
        schema = {**target, **siblings} if isinstance(target, dict) else target
    return {}


def branches(schema: Any, root: JsonObject) -> list[Any]:
    """The alternatives of *schema*: its `anyOf` and `oneOf` members, one for each of several types, or itself."""
    schema = resolved(schema, root)
    if not isinstance(schema, dict):
        return [schema]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            base = {name: item for name, item in schema.items() if name != key}
            return [
                branch for member in schema[key] for branch in branches(_merged(base, resolved(member, root)), root)
            ]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return [schema]


def _merged(base: JsonObject, member: Any) -> Any:
    return {**base, **member} if isinstance(member, dict) else member


class _Filler:
    """Fills against one root schema, which local references point into."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root

    def fill(self, schema: Any, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            return None if value is MISSING else value
        options = [self._with_all_of(option) for option in branches(schema, self._root)]
        if value is MISSING and any(_is_null(option) for option in options):
            return None
        tries = [self._shape(option, value, depth) for option in options if self._takes(option, value)]
        if not tries:
            tries = [self._shape(option, MISSING, depth) for option in options]
        return next((made for made in tries if self._is_valid(schema, made)), tries[0])

    def _is_valid(self, schema: Any, value: Any) -> bool:
        if isinstance(schema, dict) and schema is not self._root:
            schema = {**{key: self._root[key] for key in ("$defs", "definitions") if key in self._root}, **schema}
        return is_valid(schema, value)

    def _with_all_of(self, option: Any) -> Any:
        if not isinstance(option, dict) or "allOf" not in option:
            return option
        joined = {key: item for key, item in option.items() if key != "allOf"}
        for part in option["allOf"]:
            part = resolved(part, self._root)
            if isinstance(part, dict):
                properties = {**joined.get("properties", {}), **part.get("properties", {})}
                required = [*joined.get("required", []), *part.get("required", [])]
                joined = {**joined, **part, "properties": properties, "required": required}
        return joined

    def _takes(self, option: Any, value: Any) -> bool:
        return value is MISSING or not isinstance(option, dict) or _kind_fits(option.get("type"), value)

    def _shape(self, option: Any, value: Any, depth: int) -> Any:
        if not isinstance(option, dict):
            return None if value is MISSING else value
        if "const" in option:
            return option["const"]
        if option.get("enum"):
            return value if value in option["enum"] else option["enum"][0]
        kind = option.get("type") or _implied(option)
        if value is not MISSING and not _kind_fits(kind, value):
            return value if "type" not in option else self._shape(option, MISSING, depth)
        match kind:
            case "object":
                return self._object(option, value, depth)
            case "array":
                return self._array(option, value, depth)
            case "string":
                return _string(option, value)
            case "integer" | "number":
                return _number(option, value, whole=kind == "integer")
            case "boolean":
                return value if isinstance(value, bool) else False
            case _:
                return None if value is MISSING else value

    def _object(self, option: JsonObject, value: Any, depth: int) -> JsonObject:
        properties, given = option.get("properties", {}), value if isinstance(value, dict) else {}
        required = option.get("required", [])
        made = {
            name: self.fill(below, given.get(name, MISSING), depth + 1)
            for name, below in properties.items()
            if name in required or name in given
        }
        extra = option.get("additionalProperties", True)
        if extra is not False:
            rest = {name: item for name, item in given.items() if name not in properties}
            made |= {name: self.fill(extra, item, depth + 1) for name, item in rest.items()}
        for name in required:
            made.setdefault(name, self.fill(extra if isinstance(extra, dict) else {}, MISSING, depth + 1))
        for number in range(len(made), option.get("minProperties", 0)):
            made[f"key_{number}"] = self.fill(extra if isinstance(extra, dict) else {}, MISSING, depth + 1)
        return made

    def _array(self, option: JsonObject, value: Any, depth: int) -> list[Any]:
        given = value if isinstance(value, list) else []
        firsts, rest = option.get("prefixItems", []), option.get("items", {})
        least, most = option.get("minItems", 0), option.get("maxItems", math.inf)
        length = int(max(min(len(given), most), least))
        made = []
        for index in range(length):
            below = firsts[index] if index < len(firsts) else rest
            made.append(self.fill(below, given[index] if index < len(given) else MISSING, depth + 1))
        return self._distinct(made, rest) if option.get("uniqueItems") else made

    def _distinct(self, items: list[Any], schema: Any) -> list[Any]:
        choices = resolved(schema, self._root).get("enum", []) if isinstance(schema, dict) else []
        made: list[Any] = []
        for item in items:
            if item in made:
                spare = (choice for choice in choices if choice not in made)
                item = next(spare, _varied(item, len(made)))
            made.append(item)
        return made


def _is_null(option: Any) -> bool:
    return isinstance(option, dict) and (option.get("type") == "null" or option.get("const", MISSING) is None)


def _implied(option: JsonObject) -> str | None:
    """The type that the keywords of a schema without a `type` speak of."""
    for kind, keywords in _SPEAKS_OF.items():
        if keywords & option.keys():
            return kind
    return None


def _kind_fits(kind: Any, value: Any) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer" | "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "null":
            return value is None
        case _:
            return True


def _string(option: JsonObject, value: Any) -> str:
    text: str | None = value if isinstance(value, str) else None
    if text is not None and is_valid({**option, "type": "string"}, text):
        return text
    if option.get("pattern"):
        return example(option["pattern"]) or text or ""
    if option.get("format") in _FORMAT_EXAMPLES:
        return _FORMAT_EXAMPLES[str(option["format"])]
    shown = (text or "")[: option.get("maxLength")]
    return shown + "-" * int(option.get("minLength", 0) - len(shown))


def _number(option: JsonObject, value: Any, *, whole: bool) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and is_valid(option, value):
        return value
    low: Any = option.get("minimum", option.get("exclusiveMinimum", -math.inf))
    high: Any = option.get("maximum", option.get("exclusiveMaximum", math.inf))
    step = option.get("multipleOf") or (1 if whole else None)
    for candidate in _candidates(low, high, step):
        number = int(candidate) if whole and math.isfinite(candidate) else candidate
        if is_valid(option, number):
            return number
    return 0


def _candidates(low: float, high: float, step: float | None) -> list[float]:
    """Numbers worth trying, 0 first, then those at and beside the bounds."""
    edges: list[float] = [0]
    if math.isfinite(low):
        base = math.ceil(low / step) * step if step else low
        edges += [base, base + (step or 0.5)]
    if math.isfinite(high):
        base = math.floor(high / step) * step if step else high
        edges += [base, base - (step or 0.5)]
    if math.isfinite(low) and math.isfinite(high):
        edges.append((low + high) / 2)
    return edges


def _varied(item: Any, number: int) -> Any:
    if isinstance(item, str):
        return f"{item}{number}"
    return item + number if isinstance(item, int | float) else item
