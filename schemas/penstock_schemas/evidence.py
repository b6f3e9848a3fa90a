"""Values with the words of the text that they were taken from: what ``Extract(…, evidence=True)`` gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from penstock_schemas.errors import SchemaRejectedError
from penstock_schemas.json_schema import DEFINITIONS, check_schema

ValueT = TypeVar("ValueT")

_ROOT_ONLY = (*DEFINITIONS, "$schema", "$id")


class Evidence(BaseModel):
    """Where one value was found."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    path: str
    """JSON pointer to the value, such as ``/lines/0/price``; a name's ``~`` and ``/`` are ``~0`` and ``~1``."""
    quote: str
    """Words of the text. They occur in it exactly, but for white space."""


class Evidenced(BaseModel, Generic[ValueT]):
    """What was extracted, and for each scalar in it that is neither null nor an empty string at least one quote."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    value: ValueT
    evidence: tuple[Evidence, ...]

    def quotes(self, path: str) -> list[str]:
        """The quotes for the value at this JSON pointer; empty for what was not found, and for lists and objects."""
        return [one.quote for one in self.evidence if one.path == path]


def evidence_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of an :class:`Evidenced` whose value fits *schema*.

    Raises SchemaRejectedError when *schema* refers to itself by ``#``, or is too large or too deep to be put into
    another.
    """
    if _refers_to_root(schema):
        raise SchemaRejectedError(
            'with evidence it must not refer to itself by "#"; use #/$defs/<name>', field="schema"
        )
    quoted = {
        "type": "object",
        "properties": {"path": {"type": "string"}, "quote": {"type": "string", "minLength": 1}},
        "required": ["path", "quote"],
        "additionalProperties": False,
    }
    value = {name: part for name, part in schema.items() if name not in _ROOT_ONLY}
    whole = {
        "type": "object",
        "properties": {"value": value, "evidence": {"type": "array", "items": quoted}},
        "required": ["value", "evidence"],
        "additionalProperties": False,
        **{name: schema[name] for name in _ROOT_ONLY if name in schema},
    }
    check_schema(whole)
    return whole


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each scalar of plain JSON with its JSON pointer, in order."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from leaves(part, f"{path}/{index}")
    else:
        yield path, value


def _refers_to_root(part: Any) -> bool:
    """Whether ``#`` is referred to anywhere; a property whose name is ``$ref`` has a schema, not a string."""
    if isinstance(part, dict):
        return part.get("$ref") == "#" or any(map(_refers_to_root, part.values()))
    return isinstance(part, list) and any(map(_refers_to_root, part))


__all__ = ["Evidence", "Evidenced", "evidence_schema", "leaves"]
