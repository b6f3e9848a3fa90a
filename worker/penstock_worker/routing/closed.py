"""A target that may not be called now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Why = Literal["gate_closed", "breaker_open", "account_closed", "limit_reached"]

MESSAGES: dict[Why, str] = {
    "gate_closed": "The model provider asked to be left alone for a while.",
    "breaker_open": "The model has failed too often of late.",
    "account_closed": "The account at the model provider cannot be used.",
    "limit_reached": "The model has as many requests as it may be sent.",
}


@dataclass(frozen=True, slots=True)
class Closed:
    """What the guards of a target said instead of letting a call through."""

    why: Why
    wait_s: float
    """How long until it is worth asking again, as far as can be told."""


class TargetClosed(Exception):
    """A call was not made, since its target is closed; another target can be asked."""

    def __init__(self, target: str, tokens: int, closed: Closed) -> None:
        super().__init__(f"{target}: {closed.why}")
        self.target = target
        self.tokens = tokens
        """What the call may take."""
        self.closed = closed


@dataclass(frozen=True, slots=True)
class Ask:
    """What the guards of a target need to know of a call."""

    tokens: int = 0
    """Input and output that it may take, an estimate."""
    lease_s: float = 180.0
    """How long its slot and its probe are waited for, should nobody report its end; longer than it can take."""
