"""What the value of each JSON Schema keyword may be, for the keywords that hold no subschemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from penstock_schemas._schema_graph import Path
from penstock_schemas.errors import SchemaRejectedError

MAX_MEMBERS: Final = 1_000
"""Members of ``enum``, ``allOf`` and other lists."""
MAX_PROPERTIES: Final = 2_000
"""Members of ``properties``, ``required``, ``$defs`` and the like."""
MAX_COUNT: Final = 10_000
"""The largest ``minItems``, ``minProperties``, ``minContains``."""
MAX_MIN_LENGTH: Final = 2**20

FORMATS: Final = frozenset(
    {
        "date",
        "date-time",
        "time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uri",
        "uri-reference",
        "uuid",
        "json-pointer",
    }
)
"""The formats that are enforced; any other is refused."""

TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")

Rule: TypeAlias = Callable[[Any, Path], None]


def refuse(path: Path, message: str) -> NoReturn:
    """Raise SchemaRejectedError for the place *path* in the schema."""
    raise SchemaRejectedError(message, field=f"schema#{_pointer(path)}")


def members(value: Any, path: Path) -> list[Any]:
    """The members of a list that must have some, but not too many."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MEMBERS:
        refuse(path, f"must be a list of 1 to {MAX_MEMBERS} members")
    return value


def properties(value: Any, path: Path) -> dict[str, Any]:
    """The members of an object that must not have too many."""
    if not isinstance(value, dict) or len(value) > MAX_PROPERTIES:
        refuse(path, f"must be an object of at most {MAX_PROPERTIES} members")
    return value


def check_bounds(schema: dict[str, Any], path: Path) -> None:
    """Refuse a minimum above its maximum."""
    for low, high in _BOUNDS:
        if low in schema and high in schema and schema[low] > schema[high]:
            refuse((path, low), f"is above {high}: no value can satisfy both")


def _pointer(path: Path) -> str:
    """JSON pointer; names that are long or not printable are cut and escaped, and so is the whole."""
    steps: list[str] = []
    while path is not None:
        path, step = path
        name = str(step)[:64].replace("~", "~0").replace("/", "~1")
        steps.append(name if name.isprintable() else json.dumps(name)[1:-1])
    pointer = "".join(f"/{step}" for step in reversed(steps))
    return pointer if len(pointer) <= 300 else f"/...{pointer[-290:]}"


def _any(value: Any, path: Path) -> None:
    pass


def _text(value: Any, path: Path) -> None:
    if not isinstance(value, str):
        refuse(path, "must be a string")


def _flag(value: Any, path: Path) -> None:
    if not isinstance(value, bool):
        refuse(path, "must be true or false")


def _array(value: Any, path: Path) -> None:
    if not isinstance(value, list):
        refuse(path, "must be an array")


def _discriminator(value: Any, path: Path) -> None:
    """OpenAPI's hint which branch of a union is meant; the branches themselves say so by ``const``."""
    if not isinstance(value, dict) or not isinstance(value.get("propertyName"), str):
        refuse(path, "must be an object with a propertyName")


def _type(value: Any, path: Path) -> None:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name in TYPES for name in names):
        refuse(path, f"must be one or more of {', '.join(TYPES)}")
    if len(set(names)) < len(names):
        refuse(path, "names a type twice")


def _enum(value: Any, path: Path) -> None:
    members(value, path)


def _number(value: Any, path: Path) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        refuse(path, "must be a number")


def _multiple_of(value: Any, path: Path) -> None:
    _number(value, path)
    if value <= 0:
        refuse(path, "must be above 0")


def _count(limit: int) -> Rule:
    def rule(value: Any, path: Path) -> None:
        if type(value) is not int or not 0 <= value <= limit:
            refuse(path, f"must be an integer from 0 to {limit}")

    return rule


def _format(value: Any, path: Path) -> None:
    if not isinstance(value, str) or value not in FORMATS:
        refuse(path, f"would not be enforced; remove it or use one of {', '.join(sorted(FORMATS))}")


def _names(value: Any, path: Path) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        refuse(path, "must be a list of property names")
    if len(value) > MAX_PROPERTIES or len(set(value)) < len(value):
        refuse(path, f"must be at most {MAX_PROPERTIES} names, each once")


def _dependent_required(value: Any, path: Path) -> None:
    for name, names in properties(value, path).items():
        _names(names, (path, name))


_BOUNDS: Final = tuple((f"min{noun}", f"max{noun}") for noun in ("Length", "Items", "Properties", "Contains", "imum"))

ANNOTATIONS: Final[dict[str, Rule]] = {
    "$schema": _text,
    "$id": _text,
    "$comment": _text,
    "title": _text,
    "description": _text,
    "default": _any,
    "examples": _array,
    "deprecated": _flag,
    "readOnly": _flag,
    "writeOnly": _flag,
    "discriminator": _discriminator,
}
"""Keywords that say nothing about which instances are valid."""

VALUE_RULES: Final[dict[str, Rule]] = {
    **ANNOTATIONS,
    "type": _type,
    "const": _any,
    "enum": _enum,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    "multipleOf": _multiple_of,
    **dict.fromkeys(("minItems", "minProperties", "minContains"), _count(MAX_COUNT)),
    "minLength": _count(MAX_MIN_LENGTH),
    **dict.fromkeys(("maxLength", "maxItems", "maxProperties", "maxContains"), _count(2**53)),
    "uniqueItems": _flag,
    "format": _format,
    "required": _names,
    "dependentRequired": _dependent_required,
}
"""Keyword -> what its value must be; those that hold schemas, references or patterns are not here."""
