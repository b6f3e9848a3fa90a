"""A producer's ways to Redis for jobs that have to outlive it."""

from __future__ import annotations

from penstock.link import Link
from penstock_schemas.errors import InvalidRequestError
from penstock_store.connection import connect
from penstock_store.durable import DURABILITIES, Durability, DurableBatcher


class DurableLink(Link):
    """A link whose replies are pairs: what the script said, and whether the write reached as far as was asked."""

    def __init__(self, url: str, timeout_s: float, durability: Durability) -> None:
        redis = connect(url, max_connections=1, timeout_s=timeout_s, blocking=True)
        super().__init__(redis, timeout_s, DurableBatcher(redis, durability, timeout_s=timeout_s))
        self.durability = durability


class DurableLinks:
    """One link with a connection of its own for each durability, made when it is first asked for."""

    def __init__(self, url: str, timeout_s: float, usual: Durability) -> None:
        self._url, self._timeout_s, self._usual = url, timeout_s, usual
        self._links: dict[Durability, DurableLink] = {}

    def get(self, durability: Durability | None) -> DurableLink | None:
        """The link for *durability* (None: the usual one); None where nothing is asked beyond the primary's memory.

        Raises InvalidRequestError for what is none.
        """
        asked = self._usual if durability is None else durability
        if asked == "none":
            return None
        if asked not in DURABILITIES:
            raise InvalidRequestError(f"must be one of {', '.join(DURABILITIES)}", field="durability")
        if asked not in self._links:
            self._links[asked] = DurableLink(self._url, self._timeout_s, asked)
        return self._links[asked]

    async def aclose(self) -> None:
        """Close all connections. A repeat does nothing."""
        for link in self._links.values():
            await link.aclose()
