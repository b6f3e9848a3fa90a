"""Whether an answer satisfies its schema, decided in bounded time for any schema.

1. The work of validating is counted first, by walking schema and answer as a validator would; references
   that double at each step cost a validator more time than there is.
2. jsonschema-rs decides all keywords, patterns with an engine that cannot backtrack.
3. jsonschema decides again (Draft 2020-12, formats on), with an empty registry, so that no reference is
   ever fetched. It leaves to the first what it would do with `re`: `pattern`, and property names matched
   by pattern.

Fails closed: a schema that cannot be compiled, resolved or afforded accepts nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema
import jsonschema_rs
import referencing
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from penstock_worker.fallbacks.rules.shapes import Node, resolve

_MOST_STEPS: Final = 100_000
_DEEPEST: Final = 64  # schemas applied to one another at one place of the answer
_REGEX_BYTES: Final = 1 << 20
_IN_PLACE_LISTS: Final = ("allOf", "anyOf", "oneOf")
_IN_PLACE: Final = ("not", "if", "then", "else")
_CHILDREN: Final = ("items", "additionalProperties", "contains", "unevaluatedItems", "unevaluatedProperties")
_BY_PATTERN: Final = frozenset({"patternProperties"})


def linear_validator(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator | None:
    """A validator without network and without backtracking; None when *schema* cannot have one.

    A pattern with look-around or a back reference is such a case.
    """
    try:
        return jsonschema_rs.Draft202012Validator(
            dict(schema),
            validate_formats=True,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES),
        )
    except (ValueError, jsonschema_rs.ReferencingError, RecursionError):
        return None


def satisfies(schema: Mapping[str, Any], answer: dict[str, object]) -> bool:
    """Whether *answer* is valid under *schema*; False when that cannot be decided safely."""
    if not affordable(schema, answer):
        return False
    fast = linear_validator(schema)
    return fast is not None and fast.is_valid(answer) and _second_opinion(schema, answer)


def _second_opinion(schema: Mapping[str, Any], answer: dict[str, object]) -> bool:
    judge = _JudgeBesidePatterns if _mentions(schema, _BY_PATTERN) else _Judge
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    try:
        validator = judge(schema, registry=referencing.Registry(), format_checker=checker)
        return next(validator.iter_errors(answer), None) is None
    except (Unresolvable, RecursionError):
        return False


def _judged_elsewhere(*_: object) -> Iterator[ValidationError]:
    return iter(())


_Judge: Any = extend(jsonschema.Draft202012Validator, {"pattern": _judged_elsewhere})  # type: ignore[no-untyped-call]
_BESIDE_PATTERNS = ("patternProperties", "additionalProperties", "unevaluatedProperties")
_JudgeBesidePatterns: Any = extend(_Judge, dict.fromkeys(_BESIDE_PATTERNS, _judged_elsewhere))  # type: ignore[no-untyped-call]


def _mentions(schema: object, keywords: frozenset[str]) -> bool:
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, Mapping):
            if keywords & node.keys():
                return True
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)
    return False


def affordable(schema: Mapping[str, Any], answer: object) -> bool:
    """Whether validating takes at most 100,000 steps and no endless loop of references."""
    left: list[tuple[object, object, int]] = [(schema, answer, 0)]
    steps = 0
    while left:
        node, value, depth = left.pop()
        steps += 1
        if steps > _MOST_STEPS or depth > _DEEPEST:
            return False
        if isinstance(node, Mapping):
            left.extend((inner, value, depth + 1) for inner in _applied_in_place(schema, node))
            left.extend((inner, part, 0) for inner, part in _applied_below(node, value))
    return True


def _applied_in_place(root: Mapping[str, Any], node: Node) -> Iterator[object]:
    if isinstance(reference := node.get("$ref"), str):
        yield resolve(root, reference)
    for keyword in _IN_PLACE_LISTS:
        found = node.get(keyword)
        yield from found if isinstance(found, list) else ()
    yield from (node[keyword] for keyword in _IN_PLACE if keyword in node)
    dependent = node.get("dependentSchemas")
    yield from dependent.values() if isinstance(dependent, Mapping) else ()


def _applied_below(node: Node, value: object) -> Iterator[tuple[object, object]]:
    parts: list[object] = []
    if isinstance(value, dict):
        parts = list(value.values())
        properties = node.get("properties")
        if isinstance(properties, Mapping):
            yield from ((inner, value[name]) for name, inner in properties.items() if name in value)
        by_pattern = node.get("patternProperties")
        if isinstance(by_pattern, Mapping):
            yield from ((inner, part) for inner in by_pattern.values() for part in parts)
    elif isinstance(value, list):
        parts = value
        first = node.get("prefixItems")
        yield from zip(first, value, strict=False) if isinstance(first, list) else ()
    for keyword in _CHILDREN:
        if isinstance(node.get(keyword), Mapping):
            yield from ((node[keyword], part) for part in parts)
