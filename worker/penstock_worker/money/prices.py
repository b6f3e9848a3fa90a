"""What a call costs, in whole nano-USD.

The prices are those that the installed ``genai-prices`` carries: its data alone, loaded when the first price is
asked for; its updater is never started and nothing is fetched. A price in the configuration beats the table. A
model without a price costs None, never 0.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from penstock_schemas.results import Usage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelPrice

Rule = Callable[[Usage], Decimal]
"""From tokens to USD, exact."""

_RATES: Final = {
    "input_per_mtok": "input_tokens",
    "cache_read_per_mtok": "cache_read_tokens",
    "cache_write_per_mtok": "cache_write_tokens",
    "output_per_mtok": "output_tokens",
    "reasoning_per_mtok": "reasoning_tokens",
}
_STANDARD_TIERS = (None, "", "default", "standard", "auto", "on_demand")
_MAX_PER_MTOK = Decimal(10_000)


class PriceError(ValueError):
    """A configured price cannot be meant; the message names its key."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one model from the configuration, in USD per million tokens."""

    input_per_mtok: Decimal
    output_per_mtok: Decimal
    cache_read_per_mtok: Decimal
    cache_write_per_mtok: Decimal
    reasoning_per_mtok: Decimal

    @classmethod
    def parse(cls, name: str, raw: Mapping[str, Any]) -> "Rates":
        """Read ``{"input_per_mtok": "0.15", "output_per_mtok": "0.60"}``; a number is a string or an integer.

        Cache prices that are missing are the input's, a missing reasoning price is the output's. Two explicit
        zeros make a model free. Raises PriceError for an unknown key, a float, a negative price, and one above
        10,000 USD per million (a price per token typed as one per million, or the other way round).
        """
        for key in raw.keys() - _RATES.keys():
            raise PriceError(f"{name}.{key}: unknown; known are {', '.join(_RATES)}")
        given = {key: _rate(f"{name}.{key}", value) for key, value in raw.items()}
        for key in ("input_per_mtok", "output_per_mtok"):
            if key not in given:
                raise PriceError(f'{name}.{key}: missing; write "0" for a model that is free')
        given.setdefault("cache_read_per_mtok", given["input_per_mtok"])
        given.setdefault("cache_write_per_mtok", given["input_per_mtok"])
        given.setdefault("reasoning_per_mtok", given["output_per_mtok"])
        return cls(**given)

    def cost_usd(self, usage: Usage) -> Decimal:
        """The exact price of *usage*; a bucket that is unknown counts as empty."""
        amounts = (getattr(self, key) * (getattr(usage, bucket) or 0) for key, bucket in _RATES.items())
        return sum(amounts, Decimal(0)) / 1_000_000


class PriceTable:
    """Prices of all models: the configuration's first, then those of ``genai-prices``."""

    def __init__(self, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """*overrides*: ``provider/model`` -> prices as in :meth:`Rates.parse`. Raises PriceError."""
        self._overrides = {name: Rates.parse(name, raw) for name, raw in (overrides or {}).items()}
        canonical = json.dumps(overrides or {}, sort_keys=True, default=str).encode()
        self._digest = hashlib.sha256(canonical).hexdigest()[:8]

    @cached_property
    def version(self) -> str:
        """Which prices these are, for the ledger: the data's version and a digest of the configured prices."""
        return f"genai-prices/{version('genai-prices')}+{self._digest}"

    def price(self, ref: str, usage: Usage, at: datetime, *, service_tier: str | None = None) -> int | None:
        """What *usage* costs at *ref* (``provider/model``), rounded half up to whole nano-USD, once.

        *at* is when the call was made (aware): prices change by date and by time of day. *service_tier* is the
        one the provider reported; a configured price holds for all tiers. None when the input, the output, or
        the price of this model in this tier is unknown.
        """
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        rule = self._rule(ref, at, service_tier)
        return None if rule is None else int(rule(usage).scaleb(9) + Decimal("0.5"))

    def worst_case(
        self,
        ref: str,
        input_tokens: int,
        max_output_tokens: int,
        at: datetime,
        *,
        service_tier: str | None = None,
    ) -> int | None:
        """The most that one call can cost: all input at the dearest input price, and the whole output cap.

        *input_tokens* is an upper bound. None when the price is unknown.
        """
        rule = self._rule(ref, at, service_tier)
        if rule is None:
            return None
        cost_usd = max(rule(usage) for usage in _extremes(input_tokens, max_output_tokens))
        return int(cost_usd.scaleb(9) + Decimal("0.5"))

    def knows(self, ref: str, at: datetime) -> bool:
        """Whether calls of *ref* can be priced."""
        return self._rule(ref, at, None) is not None

    def _rule(self, ref: str, at: datetime, service_tier: str | None) -> Rule | None:
        rates = self._overrides.get(ref)
        return rates.cost_usd if rates else _table_rule(ref, service_tier, int(at.timestamp()) // 60)


def _extremes(input_tokens: int, output_tokens: int) -> list[Usage]:
    """All of the input in one bucket and all of the output in one: the dearest is among them."""
    nothing: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0}
    return [
        Usage.model_construct(**{**nothing, into: input_tokens, out: output_tokens})
        for into in ("input_tokens", "cache_read_tokens", "cache_write_tokens")
        for out in ("output_tokens", "reasoning_tokens")
    ]


@lru_cache(maxsize=1024)
def _table_rule(ref: str, service_tier: str | None, minute: int) -> Rule | None:
    """The table's rule for a model at one minute (Unix time // 60); None when it has none."""
    provider, _, model = ref.partition("/")
    context = None if service_tier in _STANDARD_TIERS else {"service_tier": str(service_tier)}
    try:
        _, found = _snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    if context and not any(variant.when == context for variant in found.price_variants or ()):
        return None  # no price for this tier, and the standard one would be wrong
    prices = found.get_prices(datetime.fromtimestamp(minute * 60, UTC), context)
    try:
        rates = _rates_of(prices)
    except ValueError:
        return None  # priced in units that a call's tokens do not give
    return rates.cost_usd if _is_linear(prices) else lambda usage: _total_usd(prices, usage)


def _is_linear(prices: "ModelPrice") -> bool:
    return all(value is None or isinstance(value, Decimal) for value in vars(prices).values())


def _rates_of(prices: "ModelPrice") -> Rates:
    """What a million tokens of each bucket cost, where the price has no steps."""
    of_none = Usage(input_tokens=0, output_tokens=0)
    rates = {key: _total_usd(prices, of_none.model_copy(update={bucket: 1_000_000})) for key, bucket in _RATES.items()}
    return Rates(**rates)


def _total_usd(prices: "ModelPrice", usage: Usage) -> Decimal:
    return prices.calc_price(_inclusive(usage))["total_price"]


@cache
def _snapshot() -> "DataSnapshot":
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers=providers, from_auto_update=False)


def _inclusive(usage: Usage) -> Any:
    """The table's own shape, in which input includes the cache's parts and output includes reasoning."""
    from genai_prices.types import Usage as TableUsage

    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    return TableUsage(
        input_tokens=(usage.input_tokens or 0) + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=(usage.output_tokens or 0) + (usage.reasoning_tokens or 0),
    )


def _rate(key: str, value: object) -> Decimal:
    if isinstance(value, bool | float) or not isinstance(value, str | int | Decimal):
        raise PriceError(f'{key}: must be a string such as "0.15", in USD per million tokens')
    try:
        rate = Decimal(value)
    except InvalidOperation:
        raise PriceError(f"{key}: is not a number") from None
    if not rate.is_finite() or not 0 <= rate <= _MAX_PER_MTOK:
        raise PriceError(f"{key}: must be from 0 to {_MAX_PER_MTOK} USD per million tokens")
    return rate
