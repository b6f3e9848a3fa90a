"""Reading a sorted set of jobs page by page while others add to it and take away from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from penstock.letters import LetterFilter
from penstock.link import Link

PAGE = 100


async def pages(
    link: Link, index: str, where: LetterFilter, *, newest_first: bool, size: int = PAGE
) -> AsyncIterator[list[str]]:
    """Job ids between the times of *where*, at most *size* at a time, none of them twice.

    A page goes on at the score of the last one's end, not at an offset, so that what is taken out meanwhile
    makes it miss nothing.
    """
    low, high = _score(where.since, "-inf"), _score(where.until, "+inf")
    seen: set[str] = set()  # at the score where the next page begins
    edge: float | None = None
    while True:
        bounds = [high, low, "BYSCORE", "REV"] if newest_first else [low, high, "BYSCORE"]
        flat = await link.execute("ZRANGE", index, *bounds, "LIMIT", 0, size, "WITHSCORES")
        entries = [(name.decode(), float(score)) for name, score in zip(flat[::2], flat[1::2], strict=True)]
        fresh = [name for name, score in entries if not (score == edge and name in seen)]
        if fresh:
            yield fresh
        if len(entries) < size:
            return
        if not fresh:
            size *= 2  # more than a page ended in one ms
            continue
        last = entries[-1][1]
        seen = {name for name, score in entries if score == last} | (seen if last == edge else set())
        edge = last
        low, high = (low, repr(last)) if newest_first else (repr(last), high)


def _score(at: datetime | None, otherwise: str) -> str:
    return otherwise if at is None else str(round(at.timestamp() * 1000))
