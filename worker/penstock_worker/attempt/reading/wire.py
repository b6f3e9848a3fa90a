"""What the worker and the sandbox say to each other, as plain JSON.

The worker imports this and not ``judge``: the slow libraries are loaded in the sandbox alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from penstock_worker.attempt.reading.answers import Invalid, Reading, Valid, Violation


@dataclass(frozen=True, slots=True)
class Rules:
    """How an answer is read."""

    max_bytes: int
    """Bytes of the text, UTF-8."""
    max_depth: int
    """Nested arrays and objects."""
    prose: bool
    """Whether text around the JSON is taken off rather than refused."""
    repair: bool
    """Whether wrong punctuation is repaired."""


def request(text: str, schema: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """What the sandbox is asked."""
    return {"text": text, "schema": schema, "rules": asdict(rules)}


def asked(request: dict[str, Any]) -> tuple[str, dict[str, Any], Rules]:
    """Text, schema and rules of a request."""
    return request["text"], request["schema"], Rules(**request["rules"])


def reply(reading: Reading) -> dict[str, Any]:
    """What the sandbox answers."""
    if isinstance(reading, Valid):
        return {"value": reading.value, "repairs": reading.repairs}
    return asdict(reading)


def answered(reply: dict[str, Any]) -> Reading:
    """The reading in a reply."""
    if "value" in reply:
        return Valid(reply["value"], tuple(reply["repairs"]))
    violations = tuple(Violation(**one) for one in reply["violations"])
    return Invalid(reply["code"], reply["reason"], reply["hint"], violations)
