"""Why a job cost what it did: call by call, bucket by bucket, with the price row of each.

What counts of a call is its last entry in the ledger; those before it are its history. Of a call whose entries were
taken out of the ledger, the job's journal tells the same while it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from penstock.books import FIRST, entries, order, read_mark
from penstock.link import Link
from penstock.producer import Producer
from penstock.records import Row, pairs
from penstock_schemas import keys
from penstock_schemas.errors import JobNotFoundError
from penstock_schemas.ledger import LedgerEntry, read_entry
from penstock_schemas.prices import Bucket, PriceRow, read_price_row
from penstock_schemas.results import moment


@dataclass(frozen=True, slots=True)
class Part:
    """What the tokens of one bucket cost."""

    bucket: Bucket
    tokens: int
    nanousd_per_token: Decimal
    nanousd: Decimal
    """Exact: the two multiplied."""


@dataclass(frozen=True, slots=True)
class CallCharge:
    """What one call cost, and why."""

    entry: LedgerEntry
    """What counts of it."""
    history: tuple[LedgerEntry, ...]
    """What counted of it before, oldest first."""
    parts: tuple[Part, ...]
    """Of a cost that was worked out from tokens; empty for any other."""
    rounding_nanousd: Decimal
    """What rounding has added to the parts: half a nano-USD at most, if they add up."""
    row: PriceRow | None
    """The prices that its cost, or its worst case, was worked out by; None when it has none, or it is not kept."""
    row_since: datetime | None
    """Since when that row is known here."""
    open: bool = False
    """Whether it is under way: its end is not written yet."""

    @property
    def bound(self) -> tuple[Part, ...]:
        """What the most that an uncertain call may have cost is made of: all it could take, at the dearest rates."""
        it, row = self.entry, self.row
        if not it.uncertain_nanousd or row is None or it.held_tokens is None or it.cap_tokens is None:
            return ()
        sides: tuple[tuple[int, tuple[Bucket, ...]], ...] = (
            (it.held_tokens - it.cap_tokens, ("input_tokens", "cache_read_tokens", "cache_write_tokens")),
            (it.cap_tokens, ("output_tokens", "reasoning_tokens")),
        )
        dearest = [(max(buckets, key=row.nanousd_per_token), tokens) for tokens, buckets in sides]
        return tuple(_part(row, bucket, tokens) for bucket, tokens in dearest)

    @property
    def adds_up(self) -> bool:
        """Whether the parts, rounded half up to a whole nano-USD, are the cost; also when there are none to show."""
        return not self.parts or -Decimal("0.5") < self.rounding_nanousd <= Decimal("0.5")


@dataclass(frozen=True, slots=True)
class JobCharges:
    """What a job's calls cost, over all its runs."""

    job_id: str
    calls: tuple[CallCharge, ...]
    """By run, attempt and number."""
    recorded_nanousd: int | None
    """What the job's record says; None when it is gone."""
    recorded_uncertain_nanousd: int | None
    trimmed: bool
    """Whether calls may be missing: their entries were taken out of the ledger, and the journal is gone."""

    @property
    def cost_nanousd(self) -> int:
        """The sum of all costs that are known."""
        return sum(call.entry.cost_nanousd or 0 for call in self.calls)

    @property
    def uncertain_nanousd(self) -> int:
        """The most that calls of unknown outcome may have cost besides, those under way included."""
        return sum(call.entry.uncertain_nanousd for call in self.calls)

    @property
    def unpriced_calls(self) -> int:
        """Calls whose cost is not known."""
        return sum(call.entry.cost_nanousd is None for call in self.calls)


async def explain_costs(producer: Producer, job_id: str, *, any_tenant: bool = False) -> JobCharges:
    """All charges of a job of the producer's tenant, or of any; also when the job itself is past its retention.

    Raises JobNotFoundError when neither a record nor an entry of the ledger names it, or it is another tenant's.
    """
    link = producer.link
    record = pairs(await link.execute("HGETALL", keys.record(job_id)))
    journal = pairs(await link.execute("HGETALL", keys.journal(job_id)))
    mark = await read_mark(link)
    created_ms = int(record[b"created_at"]) if b"created_at" in record else 0
    found = await _entries_of(link, job_id, created_ms)
    calls = {call: items for call, items in _by_call(found).items() if items[0].amends is None}
    for call, told in _journalled(job_id, record, journal):
        calls.setdefault(call, told)
    tenant = next((items[-1].tenant for items in calls.values()), record.get(b"tenant", b"").decode())
    if not (calls or record) or (tenant != producer.tenant and not any_tenant):
        raise JobNotFoundError(job_id)
    prices = await _price_rows(link, calls.values())
    open_calls = {call for call in calls if calls[call][-1].kind == "open"}
    charges = [_charge(calls[call], prices, call in open_calls) for call in sorted(calls, key=_place)]
    trimmed = mark.trimmed_until != FIRST and not journal and order(mark.trimmed_until)[0] >= created_ms
    return JobCharges(
        job_id,
        tuple(charges),
        int(record.get(b"cost_nanousd", 0)) if record else None,
        int(record.get(b"uncertain_nanousd", 0)) if record else None,
        trimmed,
    )


Prices = dict[str, tuple[PriceRow, datetime]]


async def _entries_of(link: Link, job_id: str, created_ms: int) -> list[LedgerEntry]:
    wanted, after = job_id.encode(), f"{max(created_ms - 1, 0)}-0"
    return [
        read_entry(entry_id, row)
        async for page in entries(link, after)
        for entry_id, row in page
        if row.get(b"job") == wanted
    ]


def _by_call(found: Iterable[LedgerEntry]) -> dict[str, list[LedgerEntry]]:
    calls: dict[str, list[LedgerEntry]] = {}
    for entry in found:
        calls.setdefault(entry.call, []).append(entry)
    return calls


def _journalled(job_id: str, record: Row, journal: Row) -> list[tuple[str, list[LedgerEntry]]]:
    """The calls that the journal tells of, each as the ledger would."""
    told = []
    for name, text in journal.items():
        if name.count(b".") == 2 and b":" not in name:
            kind, _, end = journal.get(name + b":end", b"open {}").partition(b" ")
            told.append((name.decode(), [_as_entry(job_id, record, name, _object(text), kind, _object(end))]))
    return told


def _as_entry(
    job_id: str, record: Row, call: bytes, intent: dict[str, Any], kind: bytes, end: dict[str, Any]
) -> LedgerEntry:
    held = intent.get("held_nanousd")
    amounts = {"cost_nanousd": end.get("cost_nanousd"), "uncertain_nanousd": end.get("uncertain_nanousd")}
    if kind == b"open":
        amounts = {"cost_nanousd": None if held is None else 0, "uncertain_nanousd": held or 0}
    about = {**intent, **end, **(end.get("usage") or {}), **amounts, "sent_at_ms": intent.get("at_ms")}
    about["billed"] = end.get("billed", "yes" if kind == b"answered" else "unknown")
    row = {name.encode(): str(value).encode() for name, value in about.items() if value is not None}
    names = {name: record.get(name, b"") for name in (b"tenant", b"task")}
    return read_entry(
        f"{intent.get('at_ms', 0)}-0", {**row, **names, b"job": job_id.encode(), b"call": call, b"kind": kind}
    )


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


async def _price_rows(link: Link, calls: Iterable[list[LedgerEntry]]) -> Prices:
    digests = sorted({entry.price for items in calls for entry in items if entry.price})
    if not digests:
        return {}
    texts = await link.execute("HMGET", keys.PRICES, *digests)
    return dict(kept for digest, text in zip(digests, texts, strict=True) for kept in _kept_row(digest, text))


def _kept_row(digest: str, text: bytes | None) -> list[tuple[str, tuple[PriceRow, datetime]]]:
    at_ms, _, row_text = (text or b"").partition(b" ")
    row = read_price_row(row_text)
    return [] if row is None else [(digest, (row, moment(at_ms)))]


def _charge(items: list[LedgerEntry], prices: Prices, is_open: bool) -> CallCharge:
    entry = items[-1]
    row, since = prices.get(entry.price or "", (None, None))
    parts: tuple[Part, ...] = ()
    if row is not None and entry.cost_nanousd and entry.usage is not None:
        parts = tuple(_part(row, bucket, getattr(entry.usage, bucket)) for bucket in row.parts(entry.usage))
    whole = sum((part.nanousd for part in parts), Decimal(0))
    rounding = Decimal(entry.cost_nanousd or 0) - whole if parts else Decimal(0)
    return CallCharge(entry, tuple(items[:-1]), parts, rounding, row, since, is_open)


def _part(row: PriceRow, bucket: Bucket, tokens: int) -> Part:
    rate = row.nanousd_per_token(bucket)
    return Part(bucket, tokens, rate, rate * tokens)


def _place(call: str) -> tuple[int, ...]:
    return tuple(int(part) for part in call.split("."))
