"""How much models take, from the data of the installed ``genai-prices``; nothing is fetched."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot


def known_window(ref: str) -> int | None:
    """Tokens of input and output together that ``provider/model`` takes; None when that is not known."""
    provider, _, model = ref.partition("/")
    try:
        _, found = _snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    return found.context_window


@cache
def _snapshot() -> DataSnapshot:
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers=providers, from_auto_update=False)
