"""What was spent, summed from the ledger: one entry for each provider call, in the order in which they were settled.

Sums are of whole nano-USD, so they are exact. A call whose outcome is unknown is counted apart, by the most that it
may have cost; when its outcome turned up later, a second entry amends the first, and the sum follows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from penstock.producer import Producer
from penstock.records import pairs
from penstock_schemas import keys
from penstock_schemas.results import BUCKETS, moment

CostKey = Literal["tenant", "task", "model", "prompt", "day"]
COST_KEYS: tuple[CostKey, ...] = ("tenant", "task", "model", "prompt", "day")

_AT_ONCE = 500
_UNKNOWN = "unknown"


@dataclass(slots=True)
class CostLine:
    """What the calls that share a value of the key came to."""

    key: str
    """A tenant, a task, a target (``openai/gpt-4o-mini``), a prompt (``summarize@1``) or a day (UTC)."""
    calls: int = 0
    cost_nanousd: int = 0
    """Of all calls whose cost is known."""
    uncertain_nanousd: int = 0
    """The most that calls of unknown outcome may have cost besides."""
    unpriced_calls: int = 0
    """Calls whose cost is not known, for want of a price or of usage; they are not in ``cost_nanousd``."""
    orphan_calls: int = 0
    """Calls of workers that had lost their job meanwhile: paid for, their answer not used."""
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BUCKETS, 0))
    """Known tokens by bucket."""


Row = dict[bytes, bytes]


class _Sums:
    def __init__(self, by: CostKey) -> None:
        self._by = by
        self.lines: dict[str, CostLine] = {}
        self._unknown: dict[tuple[bytes, bytes], tuple[CostLine, int]] = {}

    def add(self, at_ms: int, row: Row) -> None:
        key = _key(self._by, at_ms, row)
        line = self.lines.setdefault(key, CostLine(key))
        uncertain = int(row.get(b"uncertain_nanousd", 0))
        line.uncertain_nanousd += uncertain
        if cost := row.get(b"cost_nanousd"):
            line.cost_nanousd += int(cost)
        call = (row.get(b"job", b""), row.get(b"call", b""))
        if row.get(b"amends", b"0") != b"0":
            self._amend(call)
        if row.get(b"kind") == b"unknown":
            self._unknown[call] = (line, uncertain)
        line.calls += 1
        line.unpriced_calls += not cost
        line.orphan_calls += row.get(b"orphan") == b"1"
        for bucket in BUCKETS:
            line.tokens[bucket] += int(row.get(bucket.encode(), 0))

    def _amend(self, call: tuple[bytes, bytes]) -> None:
        """Take back what an earlier entry of the same call said: it is no other call."""
        line, uncertain = self._unknown.pop(call, (None, 0))
        if line is not None:
            line.calls -= 1
            line.uncertain_nanousd -= uncertain


async def read_costs(
    producer: Producer,
    by: CostKey = "day",
    *,
    tenant: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[CostLine]:
    """The ledger's entries between two moments (aware; None: no bound), summed by a key and sorted by it.

    *tenant* None sums those of all tenants. *progress* is told how many entries more were read. Raises
    UnavailableError when Redis is away.
    """
    sums = _Sums(by)
    async for page in _entries(producer, since, until):
        for at_ms, row in page:
            if tenant is None or row.get(b"tenant") == tenant.encode():
                sums.add(at_ms, row)
        if progress:
            progress(len(page))
    return sorted((line for line in sums.lines.values() if line.calls), key=lambda line: line.key)


async def ledger_length(producer: Producer) -> int:
    """How many entries the ledger has."""
    return int(await producer.link.execute("XLEN", keys.LEDGER))


async def _entries(
    producer: Producer, since: datetime | None, until: datetime | None
) -> AsyncIterator[list[tuple[int, Row]]]:
    first, last = _stream_id(since, "-"), _stream_id(until, "+")
    while True:
        entries = await producer.link.execute("XRANGE", keys.LEDGER, first, last, "COUNT", _AT_ONCE)
        if entries:
            yield [(int(entry_id.partition(b"-")[0]), pairs(fields)) for entry_id, fields in entries]
        if len(entries) < _AT_ONCE:
            return
        first = "(" + entries[-1][0].decode()


def _stream_id(at: datetime | None, otherwise: str) -> str:
    """A moment as a bound of a stream, whose ids begin with Redis' time in ms."""
    return otherwise if at is None else str(round(at.timestamp() * 1000))


def _key(by: CostKey, at_ms: int, row: Row) -> str:
    if by == "day":
        return moment(at_ms).astimezone(UTC).date().isoformat()
    name = b"target" if by == "model" else by.encode()
    return row.get(name, b"").decode("utf-8", "replace") or _UNKNOWN
