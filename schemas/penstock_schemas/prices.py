"""The row of a price table that a call was priced by: kept once in Redis, so that a charge can be explained later.

Amounts are exact: a rate in USD per million tokens is a thousand times as much in nano-USD per token. The parts of a
charge are added up as they are, and the sum is rounded half up to a whole nano-USD, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import Literal

import orjson
from pydantic import NonNegativeInt

from penstock_schemas.results import BUCKETS, Contract, Usage

CONFIGURATION = "configuration"
"""The source of a price that stands in ``[prices]``."""

Bucket = Literal["input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"]


class PriceRow(Contract):
    """What each bucket of a call's tokens costs."""

    ref: str
    """``provider/model`` in the table."""
    source: str
    """``configuration``, or the table and its version, such as ``genai-prices/0.2.3``."""
    as_of: date | None = None
    """Since when the source has this price; None when it does not say."""
    tier: str | None = None
    """The service tier, such as ``batch`` or ``flex``; None for the standard one."""
    over_input_tokens: NonNegativeInt | None = None
    """For a call with a longer input than this, which some models price apart; None: from the first token."""
    usd_per_mtok: Mapping[Bucket, Decimal]
    """USD for a million tokens of each bucket."""

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that stand for this row, whoever makes it."""
        return hashlib.sha256(self.as_json).hexdigest()[:12]

    @cached_property
    def as_json(self) -> bytes:
        """The row as Redis keeps it: JSON with sorted keys, rates as strings."""
        return orjson.dumps(self.model_dump(mode="json", exclude_none=True), option=orjson.OPT_SORT_KEYS)

    def nanousd_per_token(self, bucket: Bucket) -> Decimal:
        """The exact rate; 0 for a bucket that the row does not name."""
        return self.usd_per_mtok.get(bucket, Decimal(0)) * 1000

    def parts(self, usage: Usage) -> dict[Bucket, Decimal]:
        """Exact nano-USD by bucket, of those buckets that are known."""
        counts = {bucket: getattr(usage, bucket) for bucket in BUCKETS}
        return {b: self.nanousd_per_token(b) * n for b, n in counts.items() if n is not None}  # type: ignore[arg-type, misc]

    def cost_nanousd(self, usage: Usage) -> int:
        """The sum of the parts, rounded half up to a whole nano-USD; an unknown bucket counts as empty."""
        return int(sum(self.parts(usage).values(), Decimal(0)).to_integral_value(ROUND_HALF_UP))

    def most_nanousd(self, input_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens can cost: each at the dearest rate of the buckets it may fall into."""
        dearest_input, dearest_output = self._dearest
        return int((dearest_input * input_tokens + dearest_output * output_tokens).to_integral_value(ROUND_HALF_UP))

    @cached_property
    def _dearest(self) -> tuple[Decimal, Decimal]:
        of_input: tuple[Bucket, ...] = ("input_tokens", "cache_read_tokens", "cache_write_tokens")
        of_output: tuple[Bucket, ...] = ("output_tokens", "reasoning_tokens")
        rate = self.nanousd_per_token
        return max(map(rate, of_input)), max(map(rate, of_output))


def read_price_row(text: bytes) -> PriceRow | None:
    """The row that :attr:`PriceRow.as_json` gave; None for what is none."""
    try:
        return PriceRow.model_validate_json(text)
    except ValueError:
        return None
