"""Why an answer is not valid, in words that hold nothing of the answer.

jsonschema walks the schema and reports; where the two libraries would judge differently, jsonschema-rs is
asked for the verdict on the single value, so that one engine decides (see ``validator``): patterns, formats
and multiples. This is slow and is called in the sandbox only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import referencing
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from penstock_worker.attempt.reading.answers import Violation
from penstock_worker.attempt.reading.validator import compiled, without_identity

MAX_VIOLATIONS: Final = 3
_MAX_VALUE: Final = 80

_FORMATS: Final = {
    "date": "a date such as 2024-01-31",
    "date-time": "a date and time with a zone, such as 2024-01-31T09:30:00Z",
    "time": "a time with a zone, such as 09:30:00Z",
    "duration": "a duration such as P3DT4H",
    "uuid": "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
    "uri": "an absolute URI such as https://example.com/page",
}


@lru_cache(maxsize=512)
def _verdict(keyword: str, value: Any) -> Any:
    return compiled({keyword: value})


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _verdict("pattern", pattern).is_valid(instance):
        yield ValidationError("pattern")


def _format(validator: Any, name: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _verdict("format", name).is_valid(instance):
        yield ValidationError("format")


def _multiple_of(validator: Any, factor: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "number") and _exact(instance) % _exact(factor):
        yield ValidationError("multipleOf")


def _exact(number: float) -> Fraction:
    """The number that was written, not the double nearest to it."""
    return Fraction(repr(number))


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for name in filter(_verdict("pattern", pattern).is_valid, instance):
                yield from validator.descend(instance[name], subschema, path=name, schema_path=pattern)


def _additional(validator: Any, subschema: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name in _unnamed(instance, schema):
            if subschema is False:
                yield ValidationError("additionalProperties")
                return
            yield from validator.descend(instance[name], subschema, path=name)


def _unnamed(instance: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    patterns = [_verdict("pattern", pattern) for pattern in schema.get("patternProperties", ())]
    for name in instance:
        if name not in schema.get("properties", ()) and not any(one.is_valid(name) for one in patterns):
            yield name


_Judge: Final[Any] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _pattern,
        "format": _format,
        "multipleOf": _multiple_of,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional,
    },
)


class Explainer:
    """Explains answers to one schema, which has passed the gate."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = without_identity(schema)
        self._judge = _Judge(self._schema, registry=referencing.Registry())
        self._fast = compiled(self._schema)
        self._names = frozenset(_names_in(self._schema))

    def is_valid(self, value: Any) -> bool:
        """jsonschema's own judgement, which is to equal the fast one."""
        return next(self._judge.iter_errors(value), None) is None

    def violations(self, value: Any) -> tuple[Violation, ...]:
        """At most three rules that *value* breaks; empty if it is valid.

        Should jsonschema find no fault where the fast validator does, the latter is believed.
        """
        errors = islice(self._judge.iter_errors(value), MAX_VIOLATIONS)
        found = tuple(self._violation(best_match([error]) or error, value) for error in errors)
        return found if found or self._fast.is_valid(value) else (self._fast_violation(value),)

    def _violation(self, error: Any, value: Any) -> Violation:
        if error.validator is None:  # the schema `false`: jsonschema does not tell where
            return self._fast_violation(value)
        hint = _hint(error.validator, error.validator_value, error.instance)
        return Violation(self._path(error.absolute_path), error.validator, hint[:160])

    def _fast_violation(self, value: Any) -> Violation:
        """The first fault that the fast validator meets, by place and keyword alone."""
        error = next(self._fast.iter_errors(value))
        keyword = "false" if error.kind.name == "falseSchema" else error.kind.name
        return Violation(self._path(error.instance_path), keyword, "is not allowed")

    def _path(self, steps: Iterable[str | int]) -> str:
        return "".join(f"/{self._shown(step)}" for step in steps)[:120]

    def _shown(self, step: str | int) -> str:
        return str(step) if isinstance(step, int) or step in self._names else "*"


def _names_in(schema: Any) -> Iterator[str]:
    """All property names that the schema itself gives."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            properties = value.get("properties")
            yield from properties if isinstance(properties, dict) else ()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _hint(keyword: str, expected: Any, instance: Any) -> str:
    """What is expected here; *instance* is looked at for names that are missing, never repeated."""
    if keyword == "required":
        return f"lacks {_listed(name for name in expected if name not in instance)}"
    if keyword == "additionalProperties":
        return "has a property that is not allowed"
    if keyword == "enum":
        return f"must be one of {_listed(expected)}"
    if keyword == "format":
        return f"must be {_FORMATS.get(expected, f'of format {expected}')}"
    template = _HINTS.get(keyword)
    return template.format(_shown(expected)) if template else "is not allowed"


_HINTS: Final = {
    "type": "must be of type {}",
    "const": "must be {}",
    "pattern": "must match {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "uniqueItems": "must not have equal items",
    "minProperties": "must have at least {} properties",
    "maxProperties": "must have at most {} properties",
    "contains": "lacks an item of the kind that is asked for",
    "anyOf": "fits none of the alternatives",
    "oneOf": "must fit exactly one of the alternatives",
    "not": "is of a kind that is not allowed",
    "propertyNames": "has a property whose name is not allowed",
    "dependentRequired": "lacks a property that another one asks for",
}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."


def _listed(values: Iterable[Any]) -> str:
    text = ", ".join(json.dumps(value, ensure_ascii=False) for value in values)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."
