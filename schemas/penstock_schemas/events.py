"""What a job tells while it is on its way."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from penstock_schemas.results import Contract

EventType = Literal[
    "queued",
    "scheduled",
    "running",
    "progress",
    "delta",
    "succeeded",
    "degraded",
    "dead",
    "cancelled",
    "expired",
]


class Event(Contract):
    """One entry of a job's event stream. States are told by their own name."""

    id: str
    """Position in the stream; give it as ``after`` to go on behind it."""
    type: EventType
    at: AwareDatetime
    run: int = Field(ge=1)
    data: dict[str, Any] = Field(default_factory=dict)
    """``scheduled``: ``due_at_ms`` and ``reason``; ``running``: ``attempt``; ``progress``: ``stage``, ``target`` and
    what belongs to it (of the stage ``parts``: ``done`` of ``total`` steps); ``delta``: ``attempt``, ``call`` and
    ``text``; a terminal one: ``quality`` or ``code``."""

    @property
    def terminal(self) -> bool:
        """Whether this event ends its run."""
        return self.type in ("succeeded", "degraded", "dead", "cancelled", "expired")
