"""What an attempt can come to: a closed set, computed by pure code and written down in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from penstock_schemas.results import JobFailure, MadeBy, Quality, Reused


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A model's answer that passed every check it had to pass."""

    output: Any
    made_by: MadeBy
    quality: Quality
    reasons: tuple[str, ...] = ()
    reused: Reused | None = None
    """Set when another job paid for it."""
    chunks: int = 1
    """Parts that its text was worked on in."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """A labelled answer of the task's fallback, and why no model gave one."""

    output: Any
    made_by: MadeBy
    failure: JobFailure


@dataclass(frozen=True, slots=True)
class Dead:
    """No answer, for good."""

    failure: JobFailure


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for it to stop."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline passed before it was started."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Start it again later."""

    delay_s: float
    reason: str
    """Code of the error behind it."""
    charged: bool
    """Whether this attempt counts against ``max_attempts``; a throttle does not."""
    due_at_ms: int | None = None
    """The moment itself, by Redis' clock, where it has a place in a line; else None."""


@dataclass(frozen=True, slots=True)
class HandBack:
    """The worker goes; start it again at once, elsewhere, uncharged."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is someone else's: nothing is written."""


Outcome: TypeAlias = Succeeded | Degraded | Dead | Cancelled | Expired | Retry | HandBack | Lost
