"""The price rows that calls were priced by, as Redis keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.link import Link
from penstock.records import pairs
from penstock_schemas import keys
from penstock_schemas.prices import PriceRow, read_price_row
from penstock_schemas.results import Usage


@dataclass(frozen=True, slots=True)
class KeptPrices:
    """All rows, by digest."""

    rows: dict[str, PriceRow]

    @classmethod
    async def read(cls, link: Link) -> KeptPrices:
        """Read them all: there are as many as models, tiers and changes of price."""
        kept = pairs(await link.execute("HGETALL", keys.PRICES))
        rows = {digest.decode(): read_price_row(text.partition(b" ")[2]) for digest, text in kept.items()}
        return cls({digest: row for digest, row in rows.items() if row is not None})

    def cost(self, digest: str | None, usage: Usage | None) -> int | None:
        """What *usage* costs by a row; None when one of the two is unknown."""
        row = self.rows.get(digest or "")
        return None if row is None or usage is None else row.cost_nanousd(usage)

    def for_usage(self, digest: str | None, usage: Usage | None) -> str | None:
        """The row for an input as long as that of *usage*, of the same model, source and tier as the row given."""
        row = self.rows.get(digest or "")
        if row is None or usage is None:
            return digest
        length = sum((usage.input_tokens or 0, usage.cache_read_tokens or 0, usage.cache_write_tokens or 0))
        alike = [
            other
            for other in self.rows.values()
            if (other.ref, other.source, other.tier) == (row.ref, row.source, row.tier)
            and (other.over_input_tokens or 0) <= length
            and (other.over_input_tokens is None or other.over_input_tokens < length)
        ]
        if row in alike and (row.over_input_tokens or 0) == max(other.over_input_tokens or 0 for other in alike):
            return digest
        return max(alike, key=lambda other: other.over_input_tokens or 0).digest if alike else digest
