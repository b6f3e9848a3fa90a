"""How far a job in parts has come, told as its events."""

from __future__ import annotations

import time

from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.store import AttemptStore

INTERVAL_S = 0.5
"""Steps that end within this time of the last one told are told with one that ends later."""


class Progress:
    """Counts the steps of a job that are done, and tells it now and then."""

    def __init__(self, store: AttemptStore, attempt: Attempt, total: int) -> None:
        self._store = store
        self._attempt = attempt
        self._total = total
        self._done = 0
        self._told_at = float("-inf")

    def expect(self, steps: int) -> None:
        """Note that so many steps are still to be done, now that it is known."""
        self._total = self._done + steps

    async def one_done(self) -> None:
        """Note the end of a step, and tell how many are done if that has not been told for a while, or all are."""
        self._done += 1
        if self._done == self._total or time.monotonic() - self._told_at >= INTERVAL_S:
            await self._tell()

    async def _tell(self) -> None:
        self._told_at = time.monotonic()
        data = {"stage": "parts", "done": self._done, "total": self._total}
        await self._store.tell(self._attempt.lease, self._attempt.run, "progress", data)
