"""What was spent, from the ledger: one entry for each provider call, in the order in which they were settled.

1. Workers keep sums of the ledger by hour and by day, up to a cursor; entries behind the cursor are read one by one.
   So a sum is quick however long the ledger is, and stays the same when old entries are taken out of it.
2. A range that begins or ends within an hour is read from the entries themselves. Where those are gone it is widened
   to the hour, or to the day where sums by hour are gone, and the report says so.
3. Sums are of whole nano-USD, so they are exact. A call whose outcome is unknown is counted apart, by the most that it
   may have cost; when its outcome turns up later, it counts as what it was, at the time it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from penstock.books import (
    DAY_MS,
    FIRST,
    HOUR_MS,
    Mark,
    entries,
    entry_ms,
    read_mark,
    read_sums,
    windows,
)
from penstock.link import Link
from penstock.producer import Producer
from penstock.records import Row
from penstock_schemas import keys
from penstock_schemas.ledger import DIMENSIONS, Tally
from penstock_schemas.results import BUCKETS, moment

CostKey = Literal["tenant", "user", "task", "model", "prompt", "day"]
COST_KEYS: tuple[CostKey, ...] = ("tenant", "user", "task", "model", "prompt", "day")

_NONE = {"user": "none"}
_UNKNOWN = "unknown"
_TRIES = 5

Progress = Callable[[int], None]


@dataclass(slots=True)
class CostLine:
    """What the calls that share a value of the key came to."""

    key: str
    """A tenant, a user, a task, a target (``openai/gpt-4o-mini``), a prompt (``summarize@1``) or a day (UTC)."""
    calls: int = 0
    cost_nanousd: int = 0
    """Of all calls whose cost is known."""
    uncertain_nanousd: int = 0
    """The most that calls of unknown outcome may have cost besides."""
    uncertain_calls: int = 0
    unpriced_calls: int = 0
    """Calls whose cost is not known, for want of a price or of usage; they are not in ``cost_nanousd``."""
    estimated_calls: int = 0
    """Calls whose usage the provider did not tell, or told wrong: their cost is an estimate of ours."""
    orphan_calls: int = 0
    """Calls of workers that had lost their job meanwhile: paid for, their answer not used."""
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BUCKETS, 0))
    """Known tokens by bucket."""

    @classmethod
    def of(cls, key: str, tally: Tally) -> CostLine:
        """The line of a tally."""
        counts = {name: getattr(tally, name) for name in cls.__slots__ if name not in ("key", "tokens")}
        return cls(key, **counts, tokens=tally.tokens)


@dataclass(frozen=True, slots=True)
class CostReport:
    """Sums by a key, and the range that they are of."""

    by: CostKey
    lines: list[CostLine]
    """Sorted by their keys."""
    total: CostLine
    since: datetime | None
    """None: from the beginning. Earlier than was asked for where nothing finer is kept."""
    until: datetime | None
    """None: until now. Later than was asked for where nothing finer is kept."""


async def read_costs(
    producer: Producer,
    by: CostKey = "day",
    *,
    tenant: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress | None = None,
) -> list[CostLine]:
    """The lines of :func:`read_cost_report`."""
    report = await read_cost_report(producer, by, tenant=tenant, since=since, until=until, progress=progress)
    return report.lines


async def read_cost_report(
    producer: Producer,
    by: CostKey = "day",
    *,
    tenant: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress | None = None,
) -> CostReport:
    """What calls came to between two moments (aware; None: no bound; both included), summed by a key.

    *tenant* None sums those of all tenants. *progress* is told how many entries more were read. Raises
    UnavailableError when Redis is away.
    """
    since_ms = None if since is None else round(since.timestamp() * 1000)
    until_ms = None if until is None else round(until.timestamp() * 1000) + 1
    for _ in range(_TRIES):
        reading = _Reading(producer.link, by, tenant, progress or (lambda _: None))
        mark = await read_mark(producer.link)
        await reading.summed(mark, since_ms, until_ms)
        if await read_mark(producer.link) == mark:
            break
    await reading.rest(mark, since_ms, until_ms)
    return reading.report(since, until)


async def ledger_length(producer: Producer) -> int:
    """How many entries the ledger has, of those that are not taken out yet."""
    return int(await producer.link.execute("XLEN", keys.LEDGER))


class _Reading:
    """Sums under way."""

    def __init__(self, link: Link, by: CostKey, tenant: str | None, progress: Progress) -> None:
        self._link, self._by, self._tenant, self._progress = link, by, tenant, progress
        self._tallies: dict[str, Tally] = {}
        self._from_ms: int | None = None
        self._to_ms: int | None = None

    def report(self, since: datetime | None, until: datetime | None) -> CostReport:
        total = Tally()
        for tally in self._tallies.values():
            total.add(tally)
        lines = [CostLine.of(key, tally) for key, tally in sorted(self._tallies.items()) if tally.calls]
        return CostReport(
            self._by,
            lines,
            CostLine.of("total", total),
            since if self._from_ms is None else moment(self._from_ms),
            until if self._to_ms is None else moment(self._to_ms),
        )

    async def rest(self, mark: Mark, since_ms: int | None, until_ms: int | None) -> None:
        """Add what is not in the sums yet."""
        async for page in entries(self._link, mark.cursor):
            for entry_id, row in page:
                at_ms = _counts_at_ms(entry_id, row)
                if (since_ms is None or at_ms >= since_ms) and (until_ms is None or at_ms < until_ms):
                    self._add_row(at_ms, row)
            self._progress(len(page))

    async def summed(self, mark: Mark, since_ms: int | None, until_ms: int | None) -> None:
        """Add what is in the sums: whole days, then whole hours, then entries."""
        if mark.first_ms is None:
            return
        first, last = mark.first_ms // DAY_MS * DAY_MS, (entry_ms(mark.cursor) // DAY_MS + 1) * DAY_MS
        since_ms = first if since_ms is None or since_ms <= mark.first_ms else since_ms
        until_ms = last if until_ms is None or until_ms > entry_ms(mark.cursor) else until_ms
        if since_ms >= until_ms:
            return
        days, begin, end = windows(DAY_MS, since_ms, until_ms)
        await self._add_sums("day", days)
        for low, high in ((since_ms, begin), (end, until_ms)) if days else ((since_ms, until_ms),):
            for start in range(low // DAY_MS * DAY_MS, high, DAY_MS):
                await self._day(mark, start, max(low, start), min(high, start + DAY_MS))

    async def _day(self, mark: Mark, day_ms: int, low: int, high: int) -> None:
        """Add [low, high) of one day."""
        if low >= high:
            return
        hours = range(day_ms, day_ms + DAY_MS, HOUR_MS)
        whole = sum(item.tally.calls for item in await read_sums(self._link, "day", [day_ms]))
        if sum(item.tally.calls for item in await read_sums(self._link, "hour", hours)) != whole:
            await self._add_sums("day", [day_ms])
            self._widen(day_ms, day_ms + DAY_MS, low, high)
            return
        inner, begin, end = windows(HOUR_MS, low, high)
        await self._add_sums("hour", inner)
        for first, last in ((low, begin), (end, high)) if inner else ((low, high),):
            for start in range(first // HOUR_MS * HOUR_MS, last, HOUR_MS):
                await self._hour(mark, start, max(first, start), min(last, start + HOUR_MS))

    async def _hour(self, mark: Mark, hour_ms: int, low: int, high: int) -> None:
        """Add [low, high) of one hour."""
        if low >= high:
            return
        if mark.trimmed_until != FIRST and entry_ms(mark.trimmed_until) >= low:
            await self._add_sums("hour", [hour_ms])
            self._widen(hour_ms, hour_ms + HOUR_MS, low, high)
            return
        later = False
        async for page in entries(self._link, f"{low - 1}-{2**63}", mark.cursor):
            for entry_id, row in page:
                at_ms = _counts_at_ms(entry_id, row)
                if low <= at_ms < high:
                    self._add_row(at_ms, row)
                    later = later or _may_be_amended(row)
            self._progress(len(page))
            if entry_ms(page[-1][0]) >= high and not later:
                return

    def _widen(self, start: int, end: int, low: int, high: int) -> None:
        if start < low:
            self._from_ms = start
        if end > high:
            self._to_ms = end

    async def _add_sums(self, kind: str, starts_ms: Iterable[int]) -> None:
        for item in await read_sums(self._link, kind, starts_ms):
            self._add(item.start_ms, item.names, item.tally)

    def _add_row(self, at_ms: int, row: Row) -> None:
        names = {name: row.get(name.encode(), b"").decode("utf-8", "replace") for name in DIMENSIONS}
        self._add(at_ms, names, Tally.of(row))

    def _add(self, at_ms: int, names: dict[str, str], tally: Tally) -> None:
        if self._tenant is None or names.get("tenant") == self._tenant:
            self._tallies.setdefault(self._key(at_ms, names), Tally()).add(tally)

    def _key(self, at_ms: int, names: dict[str, str]) -> str:
        if self._by == "day":
            return moment(at_ms).astimezone(UTC).date().isoformat()
        name = "target" if self._by == "model" else self._by
        return names.get(name) or _NONE.get(name, _UNKNOWN)


def _counts_at_ms(entry_id: str, row: Row) -> int:
    first = row.get(b"amends", b"0").partition(b"-")
    return int(first[0]) if first[1] and first[0].isdigit() else entry_ms(entry_id)


def _may_be_amended(row: Row) -> bool:
    return (
        row.get(b"kind") == b"unknown" or row.get(b"uncertain_nanousd", b"0") != b"0" or row.get(b"estimated") == b"1"
    )
