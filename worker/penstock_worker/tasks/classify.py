"""Classify: which of some labels fit a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock_schemas.tasks import Classify
from penstock_worker.fallbacks import LEXICAL, classify
from penstock_worker.tasks.definition import Task, Unusable, task
from penstock_worker.tasks.in_parts import ClassifyInParts


@task(Classify, prompt="classify@1", in_parts=ClassifyInParts, fallback=LEXICAL)
class ClassifyTask(Task[Classify]):
    """Labels from the set, exactly as they are spelled there."""

    def schema(self, asked: Classify) -> dict[str, Any]:
        """A list of labels from the set; as many as the request allows."""
        labels: dict[str, Any] = {
            "type": "array",
            "items": {"type": "string", "enum": list(asked.labels)},
            "minItems": 0 if asked.allow_none else 1,
            "maxItems": len(asked.labels) if asked.multi_label else 1,
            "uniqueItems": True,
        }
        return {
            "type": "object",
            "properties": {"labels": labels},
            "required": ["labels"],
            "additionalProperties": False,
        }

    def variables(self, asked: Classify) -> Mapping[str, str]:
        """The labels as a list, and how many may be chosen."""
        return {
            "labels": "\n".join(f"- {_line(name, about)}" for name, about in asked.labels.items()),
            "how_many": "every label that fits" if asked.multi_label else "the one label that fits best",
            "none": "If none of them fits, give an empty list." if asked.allow_none else "Always choose at least one.",
        }

    def check(self, asked: Classify, output: Any) -> Sequence[str]:
        """The schema closes the set; only the number is looked at again."""
        if not output["labels"] and not asked.allow_none:
            raise Unusable("no label was chosen; choose at least one")
        return ()

    def fallback(self, asked: Classify) -> Any:
        """The labels whose words the text shares most."""
        chosen = classify(asked.text, asked.labels, multi_label=asked.multi_label, allow_none=asked.allow_none)
        return {"labels": chosen}


def _line(name: str, about: str | None) -> str:
    return f"{name}: {' '.join(about.split())}" if about else name
