"""Extract: facts out of a text, in the shape of a JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from penstock_schemas.tasks import Extract
from penstock_worker.fallbacks import RULES, extract
from penstock_worker.tasks.definition import Task, task


@task(Extract, prompt="extract@1", fallback=RULES)
class ExtractTask(Task[Extract[Any]]):
    """An object that fits the request's own schema."""

    def schema(self, asked: Extract[Any]) -> dict[str, Any]:
        """The request's schema."""
        return asked.json_schema

    def variables(self, asked: Extract[Any]) -> Mapping[str, str]:
        """The schema as JSON, and what to mind."""
        return {
            "schema": orjson.dumps(asked.json_schema).decode(),
            "instructions": asked.instructions or "Take each value from the text as it stands there.",
        }

    def check(self, asked: Extract[Any], output: Any) -> Sequence[str]:
        """An answer in which nothing at all was found is doubtful."""
        return () if any(_found(output)) else ("nothing_extracted",)

    def fallback(self, asked: Extract[Any]) -> Any | None:
        """What formats, enums, patterns and labelled lines of the text give, if that satisfies the schema."""
        return extract(asked.text, asked.json_schema, instructions=asked.instructions)


def _found(value: Any) -> Iterator[bool]:
    """For each leaf whether it holds anything."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _found(part)
    elif isinstance(value, list):
        for part in value:
            yield from _found(part)
    else:
        yield value is not None and value != ""
