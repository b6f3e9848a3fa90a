"""What a call costs, in whole nano-USD.

The prices are those that the installed ``genai-prices`` carries: its data alone, loaded when the first price is
asked for; its updater is never started and nothing is fetched. A price in the configuration beats the table. A
model without a price costs None, never 0. What a provider answers as its service tier picks the price.
"""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from penstock_schemas.prices import CONFIGURATION, Bucket, PriceRow
from penstock_schemas.results import Usage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelPrice, PriceVariant, Tier

_RATES: Final[dict[str, Bucket]] = {
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


_BATCH = "batch"


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

    def by_bucket(self) -> dict[Bucket, Decimal]:
        """The same, by the bucket that each is for."""
        return {bucket: getattr(self, key) for key, bucket in _RATES.items()}


class PriceTable:
    """Prices of all models: the configuration's first, then those of ``genai-prices``."""

    def __init__(self, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """*overrides*: ``provider/model``, or ``provider/*`` for all of a provider -> prices as in :meth:`Rates.parse`.

        Beside them may stand ``long_context``, prices of a whole call whose input has more than its
        ``over_input_tokens``, and ``tiers``: service tier -> prices, which may have a ``long_context`` too. Where there
        are tiers, a tier without prices has none; else the prices hold for all. Raises PriceError.
        """
        self._overrides = {name: _own_prices(name, raw) for name, raw in (overrides or {}).items()}
        canonical = json.dumps(overrides or {}, sort_keys=True, default=str).encode()
        self._digest = hashlib.sha256(canonical).hexdigest()[:8]

    @cached_property
    def version(self) -> str:
        """Which prices these are, for the ledger: the data's version and a digest of the configured prices."""
        return f"{_source()}+{self._digest}"

    def price(
        self, ref: str, usage: Usage, at: datetime, *, service_tier: str | None = None
    ) -> tuple[int | None, PriceRow | None]:
        """What *usage* costs at *ref* (``provider/model``), rounded half up to whole nano-USD, once; and by which row.

        *at* is when the call was made (aware): prices change by date and by time of day. *service_tier* is the
        one the provider reported; a configured price holds for all tiers. The amount is None when the input, the
        output, or the price of this model in this tier is unknown; the row is None in the last case.
        """
        row = self.row(ref, _whole_input(usage), at, service_tier=service_tier)
        if row is None or usage.input_tokens is None or usage.output_tokens is None:
            return None, row
        return row.cost_nanousd(usage), row

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
        lengths = {input_tokens, *self._steps(ref, input_tokens, at, service_tier)}
        rows = [(length, self.row(ref, length, at, service_tier=service_tier)) for length in lengths]
        costs = [row.most_nanousd(length, max_output_tokens) for length, row in rows if row is not None]
        return max(costs, default=None)

    def _steps(self, ref: str, input_tokens: int, at: datetime, tier: str | None) -> list[int]:
        """The lengths below *input_tokens* behind which another price begins; a shorter call may be the dearer one."""
        row = self.row(ref, input_tokens, at, service_tier=tier)
        steps = []
        while row is not None and row.over_input_tokens is not None:
            steps.append(row.over_input_tokens)
            row = self.row(ref, row.over_input_tokens, at, service_tier=tier)
        return steps

    def row(self, ref: str, input_tokens: int, at: datetime, *, service_tier: str | None = None) -> PriceRow | None:
        """The row that a call with so many input tokens, cached ones included, is priced by; None without one."""
        provider = ref.partition("/")[0]
        if (own := self._overrides.get(ref) or self._overrides.get(f"{provider}/*")) is not None:
            tier = None if service_tier in _STANDARD_TIERS or not own.keys() - {None} else service_tier
            return own[tier].row(input_tokens) if tier in own else None
        listing = _listing(ref, service_tier, int(at.timestamp()) // 60)
        return None if listing is None else listing.row(input_tokens)

    def knows(self, ref: str, at: datetime) -> bool:
        """Whether calls of *ref* can be priced."""
        return self.row(ref, 0, at) is not None


def _whole_input(usage: Usage) -> int:
    return (usage.input_tokens or 0) + (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)


@dataclass(frozen=True, slots=True)
class _Listing:
    """A model's prices in one tier: one row for each step of the input's length."""

    starts: tuple[int, ...]
    """After how many input tokens each further row begins."""
    rows: tuple[PriceRow, ...]

    def row(self, input_tokens: int) -> PriceRow:
        """A step reprices the whole call, and begins behind its threshold."""
        return self.rows[bisect_left(self.starts, input_tokens)]


def _own_prices(name: str, raw: Mapping[str, Any]) -> dict[str | None, _Listing]:
    """Configured prices by tier; None is the standard one."""
    plain = {key: value for key, value in raw.items() if key != "tiers"}
    tiers = raw.get("tiers") or {}
    return {
        None: _own_listing(name, name, None, plain),
        **{tier: _own_listing(f"{name}.tiers.{tier}", name, tier, rates) for tier, rates in tiers.items()},
    }


def _own_listing(key: str, ref: str, tier: str | None, raw: Mapping[str, Any]) -> _Listing:
    plain = {name: value for name, value in raw.items() if name != "long_context"}
    first = Rates.parse(key, plain).by_bucket()
    rows = [PriceRow(ref=ref, source=CONFIGURATION, tier=tier, usd_per_mtok=first)]
    if (long := raw.get("long_context")) is None:
        return _Listing((), tuple(rows))
    over = long.get("over_input_tokens")
    if isinstance(over, bool) or not isinstance(over, int) or over < 1:
        raise PriceError(f"{key}.long_context.over_input_tokens: must be a number of tokens above 0")
    rates = {name: value for name, value in long.items() if name != "over_input_tokens"}
    then = Rates.parse(f"{key}.long_context", rates).by_bucket()
    rows.append(PriceRow(ref=ref, source=CONFIGURATION, tier=tier, over_input_tokens=over, usd_per_mtok=then))
    return _Listing((over,), tuple(rows))


@lru_cache(maxsize=1024)
def _listing(ref: str, service_tier: str | None, minute: int) -> _Listing | None:
    """What the table has for a model at one minute (Unix time // 60); None when it has nothing."""
    provider, _, model = ref.partition("/")
    tier = None if service_tier in _STANDARD_TIERS else str(service_tier)
    context = None if tier is None else {"processing": tier} if tier == _BATCH else {"service_tier": tier}
    try:
        _, found = _snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    at = datetime.fromtimestamp(minute * 60, UTC)
    if context and not any(_is_for(variant, context, at) for variant in found.price_variants or ()):
        return None  # no price for this tier, and the standard one would be wrong
    prices = found.get_prices(at, context)
    starts = tuple(sorted({step.start for step in _steps(prices)}))
    try:
        rows = tuple(_row(ref, tier, prices, over) for over in (None, *starts))
    except ValueError:
        return None  # priced in units that a call's tokens do not give
    return _Listing(starts, rows)


def _is_for(variant: "PriceVariant", context: Mapping[str, str], at: datetime) -> bool:
    return variant.when == context and (variant.constraint is None or variant.constraint.active(at))


def _steps(prices: "ModelPrice") -> "list[Tier]":
    return [step for value in vars(prices).values() for step in getattr(value, "tiers", ())]


def _row(ref: str, tier: str | None, prices: "ModelPrice", over: int | None) -> PriceRow:
    """The row for inputs longer than *over*; None: for the shortest."""
    flat = copy(prices)
    vars(flat).update({key: _rate_over(value, over) for key, value in vars(prices).items()})
    of_none = Usage(input_tokens=0, output_tokens=0)
    rates = {b: _total_usd(flat, of_none.model_copy(update={b: 1_000_000})) for b in _RATES.values()}
    return PriceRow(ref=ref, source=_source(), tier=tier, over_input_tokens=over, usd_per_mtok=rates)


def _rate_over(value: Any, over: int | None) -> Any:
    """A price without its steps, for inputs longer than *over*."""
    if not hasattr(value, "tiers"):
        return value
    begun = [step.price for step in value.tiers if over is not None and step.start <= over]
    return begun[-1] if begun else value.base


@cache
def _source() -> str:
    return f"genai-prices/{version('genai-prices')}"


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
