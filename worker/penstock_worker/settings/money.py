"""The part of the worker's settings that is about money: prices, budgets, and what is watched."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock_store.settings import Section


class RatesSection(Section):
    """Prices in USD for a million tokens, as strings; "0" for what is free."""

    input_per_mtok: str
    output_per_mtok: str
    cache_read_per_mtok: str | None = None
    """None: as other input."""
    cache_write_per_mtok: str | None = None
    """None: as other input."""
    reasoning_per_mtok: str | None = None
    """None: as other output."""


class LongContextSection(RatesSection):
    """Prices of a whole call whose input is long."""

    over_input_tokens: int = Field(ge=1)
    """With more input tokens than this, cached ones included."""


class TierSection(RatesSection):
    """Prices of one service tier, such as ``flex`` or ``batch``."""

    long_context: LongContextSection | None = None


class PriceSection(TierSection):
    """Prices of one model, or of all models of a provider."""

    tiers: dict[str, TierSection] = Field(default_factory=dict)
    """Service tier, as the provider reports it -> its prices; ``batch`` for its batch endpoint. Where there are any, a
    tier that is not among them has no price; with none the prices hold for all tiers."""


class BudgetSection(Section):
    """The most that may be spent in one scope, by window of the calendar (UTC). USD as strings."""

    hour_usd: str | None = None
    day_usd: str | None = None
    month_usd: str | None = None
    hour_tokens: int | None = Field(default=None, ge=0, le=2**53 - 1)
    day_tokens: int | None = Field(default=None, ge=0, le=2**53 - 1)
    month_tokens: int | None = Field(default=None, ge=0, le=2**53 - 1)
    when_spent: Literal["wait", "degrade", "refuse"] = "wait"
    """``wait``: jobs are parked until the window turns. ``degrade``: the task's fallback answers. ``refuse``: enqueue
    holds the most that a job may cost, and refuses one that has no room."""


class WatchSection(Section):
    """What is told as unusual, once in its window, as an event and in the log; and what is stopped."""

    window: Literal["hour", "day"] = "day"
    """What is compared with those before it, by UTC."""
    factor: Annotated[float, Field(gt=1, le=1_000)] = 10.0
    """A prompt, a route or a tenant that spends, or costs by the call, so many times the median of earlier windows
    spends too much."""
    min_usd: str = "1.00"
    """Below so much in the window nothing is too much."""
    history: int = Field(default=14, ge=1, le=100)
    """How many earlier windows, in which there were calls, make the usual."""
    min_history: int = Field(default=3, ge=1, le=100)
    """Below so many there is none yet."""
    stop: bool = True
    """Stop a prompt or a route that spends too much until the window turns; false only tells."""
    fallback_ratio: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Told when more than this part of a task's jobs of an hour ended degraded."""
    fallback_min_jobs: int = Field(default=50, ge=1)
    """Below so many jobs of the hour the ratio says nothing."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_history > self.history:
            raise ValueError(f"min_history ({self.min_history}) must not be above history ({self.history})")
        return self
