"""An answer as it is kept for equal requests: what was said, what it is worth, who made it and what it cost."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import ValidationError

from penstock_schemas.results import MadeBy, Quality, Reused, moment
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.outcome import Succeeded


def to_json(attempt: Attempt, made: Succeeded) -> bytes:
    """What is kept of an answer that this attempt has just got."""
    costs = [call.cost_nanousd for call in attempt.journal.of_run()]
    kept = {
        "output": made.output,
        "quality": made.quality.value,
        "reasons": made.reasons,
        "made_by": made.made_by.model_dump(mode="json"),
        "chunks": made.chunks,
        "job_id": attempt.job_id,
        "made_at_ms": attempt.now_ms(),
        "cost_nanousd": None if None in costs else sum(cost or 0 for cost in costs),
    }
    return orjson.dumps(kept)


def from_json(text: bytes, kind: Literal["cache", "single_flight"]) -> Succeeded | None:
    """The answer that :func:`to_json` kept; None when it cannot be read, which is as if it were not there."""
    try:
        kept: dict[str, Any] = orjson.loads(text)
        reused = Reused(
            kind=kind,
            job_id=kept["job_id"],
            made_at=moment(kept["made_at_ms"]),
            would_have_cost_nanousd=kept["cost_nanousd"],
        )
        made_by = MadeBy.model_validate(kept["made_by"])
        quality, reasons, chunks = Quality(kept["quality"]), tuple(kept["reasons"]), int(kept.get("chunks", 1))
        return Succeeded(kept["output"], made_by, quality, reasons, reused, chunks)
    except (ValueError, KeyError, TypeError, ValidationError):
        return None
