"""Reading the ledger: its entries page by page, and the sums that workers keep of them by hour and by day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from penstock.link import Link
from penstock.records import Row, pairs
from penstock_schemas import keys
from penstock_schemas.ledger import DIMENSIONS, Tally
from penstock_schemas.results import moment

PAGE = 500
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_AT_ONCE = 50
FIRST = "0-0"

Entry = tuple[str, Row]
"""An entry's id and its fields."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the ledger is summed up."""

    cursor: str
    """The last entry that is in the sums; ``0-0`` when none is."""
    first_ms: int | None
    """When the first entry that is in the sums was written; None when none is."""
    trimmed_until: str
    """The last entry that was taken out of the stream; ``0-0`` when none was."""
    trimmed: Tally
    """What those that were taken out came to."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What the calls of one tenant, task, target, prompt and user came to in an hour or a day."""

    start_ms: int
    names: dict[str, str]
    tally: Tally


def order(entry_id: str) -> tuple[int, int]:
    """What entries are ordered by."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def entry_ms(entry_id: str) -> int:
    """When an entry was written."""
    return int(entry_id.partition("-")[0])


async def read_mark(link: Link) -> Mark:
    """How far the ledger is summed up now."""
    row = pairs(await link.execute("HGETALL", keys.ROLLED))
    return Mark(
        cursor=row.get(b"cursor", FIRST.encode()).decode(),
        first_ms=int(row[b"first"]) if b"first" in row else None,
        trimmed_until=row.get(b"trimmed_until", FIRST.encode()).decode(),
        trimmed=Tally.read(row.get(b"trimmed", b"")),
    )


async def entries(link: Link, after: str = FIRST, until: str = "+") -> AsyncIterator[list[Entry]]:
    """The entries behind the id *after* and up to the id *until*, in order, a page at a time."""
    while True:
        page = await link.execute("XRANGE", keys.LEDGER, f"({after}", until, "COUNT", PAGE)
        found = [(entry_id.decode(), pairs(fields)) for entry_id, fields in page]
        if found:
            yield found
        if len(found) < PAGE:
            return
        after = found[-1][0]


async def read_sums(link: Link, kind: str, starts_ms: Iterable[int]) -> list[Sum]:
    """The sums of the windows that begin then; *kind* is ``hour`` or ``day``. A window without calls has none."""
    starts = list(starts_ms)
    sums: list[Sum] = []
    for at in range(0, len(starts), _AT_ONCE):
        part = starts[at : at + _AT_ONCE]
        rows = await asyncio.gather(*(link.execute("HGETALL", keys.rolled(_window(kind, start))) for start in part))
        for start, row in zip(part, rows, strict=True):
            sums += [Sum(start, _names(name), Tally.read(text)) for name, text in pairs(row).items()]
    return sums


def windows(kind_ms: int, since_ms: int, until_ms: int) -> tuple[Sequence[int], int, int]:
    """Starts of the whole windows in [since, until), and where the first begins and the last ends.

    Without a whole one both are *since_ms*.
    """
    first, last = -(-since_ms // kind_ms) * kind_ms, until_ms // kind_ms * kind_ms
    return (range(first, last, kind_ms), first, last) if first < last else ((), since_ms, since_ms)


def _window(kind: str, start_ms: int) -> str:
    at: datetime = moment(start_ms).astimezone(UTC)
    return f"day:{at:%Y-%m-%d}" if kind == "day" else f"hour:{at:%Y-%m-%dT%H}"


def _names(text: bytes) -> dict[str, str]:
    values: list[Any] = orjson.loads(text)
    return dict(zip(DIMENSIONS, map(str, values), strict=False))
