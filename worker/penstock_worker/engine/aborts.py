"""Cancels running jobs whose abort was asked for, within milliseconds, and tidies what was asked of jobs long gone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_store.scripts import load_script

if TYPE_CHECKING:
    from penstock_worker.engine.worker import Worker

logger = logging.getLogger("arq.worker")

_TIDY = load_script("penstock_worker.engine", "tidy")
_READ = ("ZRANGE", keys.ARQ_ABORT, "0", "-1")
_AGED_MS = 60_000
_TIDY_EVERY_S = 30.0
_POLL_S = 0.5


class Aborts:
    """Watches arq's abort set for one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._changed = asyncio.Event()

    def appeared(self) -> None:
        """The abort set has changed."""
        self._changed.set()

    async def watch(self) -> None:
        """Run until cancelled. With Redis away, aborts wait for it."""
        loop = asyncio.get_running_loop()
        tidy_at = loop.time()
        while True:
            self._changed.clear()
            try:
                await self.apply()
                if loop.time() >= tidy_at:
                    tidy_at = loop.time() + _TIDY_EVERY_S
                    await self._worker.batcher.call(_TIDY, [keys.ARQ_ABORT, keys.DEATHS], [_AGED_MS])
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("aborts cannot be read: %s", error)
            timer = loop.call_later(_POLL_S, self._changed.set)
            await self._changed.wait()
            timer.cancel()

    async def apply(self) -> None:
        """Cancel the running jobs that are in the set, and take them out of it."""
        waker = self._worker.idle.waker
        armed = await waker.arm([_READ]) if waker is not None else None
        asked = armed[0] if armed is not None else await self._worker.batcher.execute(*_READ)
        if not asked:
            return
        running = {lease.raw_id: lease for lease in self._worker.held.values() if not lease.concluded}
        aborted = [job_id for job_id in asked if job_id in running]
        for job_id in aborted:
            running[job_id].cancel("abort")
        if aborted:
            await self._worker.batcher.execute("ZREM", keys.ARQ_ABORT, *aborted)
