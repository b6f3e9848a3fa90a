"""What calls of a target cost, by the table of prices."""

from __future__ import annotations

from datetime import UTC, datetime

from penstock_schemas.results import Usage
from penstock_worker.llm.port import Answer, Target
from penstock_worker.money.prices import PriceTable


class Costing:
    """Prices calls in whole nano-USD; None where a price is unknown, never 0."""

    def __init__(self, table: PriceTable) -> None:
        self._table = table

    @property
    def version(self) -> str:
        """Which table of prices this is."""
        return self._table.version

    def cost(self, target: Target, answer: Answer) -> int | None:
        """What a call cost: what the provider itself says, else the price of its tokens."""
        if answer.provider_cost_nanousd is not None:
            return answer.provider_cost_nanousd
        if answer.usage is None:
            return None
        return self.cost_of(target, answer.usage, service_tier=answer.service_tier)

    def cost_of(self, target: Target, usage: Usage, *, service_tier: str | None = None) -> int | None:
        """What these tokens cost."""
        return self._table.price(_reference(target), usage, _now(), service_tier=service_tier)

    def worst_case(self, target: Target, input_tokens: int, output_tokens: int) -> int | None:
        """The most that a call with at most so many tokens can cost."""
        return self._table.worst_case(_reference(target), input_tokens, output_tokens, _now())


def _reference(target: Target) -> str:
    return target.price_ref or target.name


def _now() -> datetime:
    return datetime.now(UTC)
