"""The ledger's sums by hour and day, kept up by every worker, and the trimming of what is in them.

1. One script takes the entries behind a cursor, adds them to their sums and moves the cursor, all or nothing. So it
   does not matter who calls it, how many do, or where one dies.
2. Another takes old entries out of the stream, never one that the cursor has not passed.
3. Each call is small: a script keeps Redis for itself while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from penstock_store.batcher import Batcher
from penstock_store.scripts import load_script

log = structlog.get_logger("penstock.worker")

_PACKAGE = "penstock_worker.money"
_AT_ONCE = 100
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Keep:
    """How long the ledger and its sums are kept, in days."""

    entries_days: float = 35.0
    """0: for ever."""
    entries: int = 1_000_000
    """The most entries in the stream; 0: no bound."""
    hours_days: float = 35.0
    """Sums by hour."""
    days_days: float = 800.0
    """Sums by day."""


class Rolling:
    """Adds up and trims, every *pause_s* seconds."""

    def __init__(self, batcher: Batcher, keep: Keep | None = None, pause_s: float = 5.0) -> None:
        self._batcher = batcher
        self._pause_s = pause_s
        keep = keep or Keep()
        self._kept = [_ms(keep.hours_days), _ms(keep.days_days)]
        self._trimmed = [_ms(keep.entries_days), keep.entries, _AT_ONCE]
        self._roll_up, self._trim = (load_script(_PACKAGE, verb) for verb in ("roll_up", "trim"))

    async def run(self) -> None:
        """Keep the sums up until cancelled; a Redis that is away is waited for."""
        while True:
            with contextlib.suppress(RedisError, OSError):  # it is away: the engine says so
                await self.step()
            await asyncio.sleep(self._pause_s)

    async def step(self) -> tuple[int, int]:
        """Add all entries that there are, trim what may go; how many it were of each. Raises redis-py's errors."""
        added = trimmed = 0
        while count := await self.add_up():
            added += count
            if count < _AT_ONCE:
                break
        while count := int(await self._batcher.call(self._trim, [], self._trimmed)):
            trimmed += count
        return added, trimmed

    async def add_up(self, most: int = _AT_ONCE) -> int:
        """Add at most so many entries; how many it were. Raises redis-py's errors."""
        return int(await self._batcher.call(self._roll_up, [], [most, *self._kept]))


@contextlib.asynccontextmanager
async def rolling(batcher: Batcher, keep: Keep) -> AsyncIterator[None]:
    """Keep the sums up while the block runs."""
    task = asyncio.create_task(Rolling(batcher, keep).run(), name="penstock-rolling")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _ms(days: float) -> int:
    return round(days * _DAY_MS)
