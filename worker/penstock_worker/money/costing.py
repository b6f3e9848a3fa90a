"""What calls of a target cost, by the table of prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from penstock_schemas.prices import PriceRow
from penstock_schemas.results import Usage
from penstock_worker.llm.port import Answer, Target
from penstock_worker.money.prices import PriceTable


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount, and where it comes from."""

    nanousd: int | None
    """None where a price or the usage is unknown, never 0."""
    row: PriceRow | None = None
    """The prices that it was worked out by; None when there are none, or the provider told the amount itself."""

    @property
    def price(self) -> str | None:
        """The row's digest."""
        return None if self.row is None else self.row.digest


class Costing:
    """Prices calls in whole nano-USD; None where a price is unknown, never 0."""

    def __init__(self, table: PriceTable) -> None:
        self._table = table

    @property
    def version(self) -> str:
        """Which table of prices this is."""
        return self._table.version

    def charge(self, target: Target, answer: Answer) -> Charge:
        """What a call cost: what the provider itself says, else the price of its tokens."""
        if answer.provider_cost_nanousd is not None:
            return Charge(answer.provider_cost_nanousd)
        if answer.usage is None:
            return Charge(None)
        return self.charge_of(target, answer.usage, service_tier=answer.service_tier)

    def charge_of(self, target: Target, usage: Usage, *, service_tier: str | None = None) -> Charge:
        """What these tokens cost."""
        return Charge(*self._table.price(_reference(target), usage, _now(), service_tier=service_tier))

    def cost(self, target: Target, answer: Answer) -> int | None:
        """The amount of :meth:`charge`."""
        return self.charge(target, answer).nanousd

    def cost_of(self, target: Target, usage: Usage, *, service_tier: str | None = None) -> int | None:
        """The amount of :meth:`charge_of`."""
        return self.charge_of(target, usage, service_tier=service_tier).nanousd

    def bound(self, target: Target, input_tokens: int, output_tokens: int) -> Charge:
        """The most that a call with at most so many tokens can cost."""
        ref, now = _reference(target), _now()
        tiers = {None, _asked_tier(target)}
        costs = [
            (self._table.worst_case(ref, input_tokens, output_tokens, now, service_tier=tier), tier) for tier in tiers
        ]
        dearest, tier = max(((cost, tier) for cost, tier in costs if cost is not None), default=(None, None), key=_cost)
        return Charge(dearest, self._table.row(ref, input_tokens, now, service_tier=tier))

    def knows(self, target: Target) -> bool:
        """Whether calls of *target* can be priced."""
        return self._table.knows(_reference(target), _now())

    def worst_case(self, target: Target, input_tokens: int, output_tokens: int) -> int | None:
        """The amount of :meth:`bound`."""
        return self.bound(target, input_tokens, output_tokens).nanousd


def _asked_tier(target: Target) -> str | None:
    """The service tier that is sent with every call, by the provider's options; None for none."""
    body = target.options.get("body")
    tier = body.get("service_tier") if isinstance(body, Mapping) else None
    return tier if isinstance(tier, str) else None


def _cost(pair: tuple[int | None, str | None]) -> int:
    return pair[0] or 0


def _reference(target: Target) -> str:
    return target.price_ref or target.name


def _now() -> datetime:
    return datetime.now(UTC)
