"""Extract: facts out of a text, in the shape of a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from penstock_schemas.evidence import evidence_schema, leaves
from penstock_schemas.tasks import Extract
from penstock_worker.fallbacks import RULES, extract
from penstock_worker.tasks.definition import Task, task
from penstock_worker.tasks.in_parts import ExtractInParts
from penstock_worker.tasks.quotes import check_quotes, found, with_quotes

_EVIDENCE = (
    ' Put what you found under "value". For each value that is not null, put into "evidence" an object with its JSON'
    ' pointer within "value" as "path" (such as /lines/0/price) and the words of the text that it was taken from,'
    ' copied exactly and as few as will do, as "quote".'
)


@task(Extract, prompt="extract@1", in_parts=ExtractInParts, fallback=RULES)
class ExtractTask(Task[Extract[Any]]):
    """An object that fits the request's own schema."""

    def schema(self, asked: Extract[Any]) -> dict[str, Any]:
        """The request's schema; with evidence, the same within another."""
        return evidence_schema(asked.json_schema) if asked.evidence else asked.json_schema

    def variables(self, asked: Extract[Any]) -> Mapping[str, str]:
        """The schema as JSON, and what to mind."""
        instructions = asked.instructions or "Take each value from the text as it stands there."
        return {
            "schema": orjson.dumps(self.schema(asked)).decode(),
            "instructions": instructions + (_EVIDENCE if asked.evidence else ""),
        }

    def check(self, asked: Extract[Any], output: Any) -> Sequence[str]:
        """With evidence, each quote must occur in the text. An answer in which nothing was found is doubtful."""
        value = output["value"] if asked.evidence else output
        doubts = check_quotes(asked.text, value, output["evidence"]) if asked.evidence else ()
        return doubts if any(found(leaf) for _, leaf in leaves(value)) else ("nothing_extracted",)

    def confidence(self, asked: Extract[Any], output: Any) -> float | None:
        """The part of what was found that stands in the text as it is spelled; None when nothing was found."""
        value, plain = output["value"] if asked.evidence else output, " ".join(asked.text.split())
        values = [leaf for _, leaf in leaves(value) if found(leaf)]
        spelled = [leaf if isinstance(leaf, str) else orjson.dumps(leaf).decode() for leaf in values]
        return sum(" ".join(each.split()) in plain for each in spelled) / len(spelled) if spelled else None

    def fallback(self, asked: Extract[Any]) -> Any | None:
        """What formats, enums, patterns and labelled lines of the text give, if that satisfies the schema.

        With evidence, only if each value stands in the text as it is.
        """
        value = extract(asked.text, asked.json_schema, instructions=asked.instructions)
        return with_quotes(asked.text, value) if asked.evidence and value is not None else value
