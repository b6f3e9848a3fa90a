"""What a producer and each of its jobs can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypedDict

from penstock_schemas.errors import ConfigurationError
from penstock_schemas.jobs import Lane
from penstock_schemas.limits import Limits
from penstock_store.durable import Durability

_LONGEST_S = 10 * 366 * 86_400


class JobOptions(TypedDict, total=False):
    """How a job is to be treated; every field may be left out."""

    lane: Lane | Literal["interactive", "standard", "bulk"]
    """Class of urgency; ``standard`` if left out."""
    priority: int
    """Which of the tenant's due jobs in the lane goes first: from 0 to 9, the higher first, until a lower one has
    waited an hour longer for each step between them; 4 if left out."""
    delay_s: float
    """Seconds before which it is not started; 0 if left out, at most 30 days."""
    deadline_s: float
    """Seconds after which nobody wants the answer; none if left out, at most 30 days."""
    max_attempts: int
    """Attempts that may fail, 1 to 20; 5 if left out."""
    max_cost_usd: str | Decimal
    """The most that all its calls may cost; no bound of its own if left out."""
    max_total_tokens: int
    """The most tokens, input and output, that all its calls may take together; no bound of its own if left out."""
    max_output_tokens: int
    """The cap of one answer, thinking included, where it is lower than the route's; the route's if left out."""
    user: str
    """On whose behalf: 1 to 128 of A-Z, a-z, 0-9 and ``_.@+|=-``; the producer's own if left out. Budgets, limits and
    the ledger count by user within a tenant."""
    on_failure: Literal["degrade", "dead_letter"]
    """When no model gives an answer; ``degrade`` if left out."""
    stream: bool
    """Publish the answer's text as events while it comes."""
    metadata: Mapping[str, str]
    """Up to 32 notes of your own, given back as they are."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is over is kept, in seconds."""

    result_s: float = 7 * 86_400
    """A job that did not end dead, from its end."""
    dead_s: float = 30 * 86_400
    """A dead letter, from its end."""
    idempotency_s: float = 86_400
    """An idempotency key, from its job's end. While the job is open the key is known."""

    def __post_init__(self) -> None:
        for name in ("result_s", "dead_s", "idempotency_s"):
            if not 0 < getattr(self, name) <= _LONGEST_S:
                raise ConfigurationError(f"retention.{name}", "must be above 0 and at most ten years, in seconds")


class ProducerOptions(TypedDict, total=False):
    """What a producer can be told besides the URL; every field may be left out."""

    tenant: str
    """Whose jobs it enqueues and sees: 1 to 64 of A-Z, a-z, 0-9, ``_`` and ``-``; ``default`` if left out."""
    user: str | None
    """On whose behalf its jobs are that name no other; None, or left out: nobody's in particular."""
    limits: Limits
    """What a request may be at most."""
    retention: Retention
    """How long what is over is kept; it goes with each job."""
    timeout_s: float
    """Seconds within which each call is answered or fails; 2 if left out."""
    durability: Durability
    """When a job counts as accepted, where the enqueue does not say: ``none`` (if left out), as soon as the primary has
    it; ``replica``, when a replica has it too; ``fsync``, when it is on the primary's disk."""
