"""The fast yes: one compiled validator per schema.

jsonschema-rs decides what is valid; ``explain`` says why not. The meaning is JSON Schema 2020-12 with these
points settled:

- ``format`` is enforced;
- ``1.0`` is an integer and equals ``1``; ``true`` equals neither;
- ``multipleOf`` is exact decimal arithmetic: 0.3 is a multiple of 0.1;
- patterns are matched by a linear-time engine as ECMAScript reads them: ``\\d`` is 0-9, ``$`` is the very end;
- lengths count code points;
- nothing is ever fetched, and ``$id`` and ``$schema`` have no effect.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import jsonschema_rs
import orjson

from penstock_schemas.json_schema import check_schema
from penstock_worker.attempt.reading.cost import units_per_byte

_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=8 * 2**20, dfa_size_limit=4 * 2**20)


class Validator:
    """One schema, compiled. Raises SchemaRejectedError for a schema the gate would refuse."""

    def __init__(self, schema: dict[str, Any], *, max_depth: int = 32) -> None:
        check_schema(schema)
        self.schema = without_identity(schema)
        """The schema as it is enforced."""
        self.units_per_byte = units_per_byte(self.schema, max_depth=max_depth)
        """Upper bound of the work per byte of an answer, about nanoseconds."""
        self._fast = compiled(self.schema)

    def is_valid(self, value: Any) -> bool:
        """Whether a strict JSON value satisfies the schema. Cannot be interrupted: mind the cost."""
        return self._fast.is_valid(value)


class Validators:
    """Validators by their schemas; the least recently used is dropped beyond *size*."""

    def __init__(self, *, size: int = 256, max_depth: int = 32) -> None:
        self._size = size
        self._max_depth = max_depth
        self._held: OrderedDict[bytes, Validator] = OrderedDict()

    def get(self, schema: dict[str, Any]) -> Validator:
        """The validator of *schema*, compiled at its first use. Raises SchemaRejectedError as it does."""
        key = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
        validator = self._held.get(key)
        if validator is None:
            validator = self._held[key] = Validator(schema, max_depth=self._max_depth)
            if len(self._held) > self._size:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return validator


def without_identity(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without ``$id`` and ``$schema``: they name it, and could make a reference mean another."""
    return {keyword: value for keyword, value in schema.items() if keyword not in ("$id", "$schema")}


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """jsonschema-rs as it is used everywhere here: formats on, linear patterns, no retrieval."""
    return jsonschema_rs.Draft202012Validator(
        schema,
        validate_formats=True,
        ignore_unknown_formats=False,
        pattern_options=_PATTERNS,
        offline=True,
    )
