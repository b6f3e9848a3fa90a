"""What an attempt writes to Redis, one method for each script.

Every method may be repeated, so each is tried again while Redis is away: a finished answer is held until it can
be written. Only what must come before a call is given up with the lease (:meth:`AttemptStore.intend`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from typing import Any

import orjson
from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_schemas.results import JobFailure
from penstock_store.batcher import Batcher, Encodable
from penstock_store.connection import is_away
from penstock_store.scripts import Script, load_script
from penstock_worker.engine.lease import Lease

_PACKAGE = "penstock_worker.attempt"
_PAUSE_S = (0.05, 1.0)

HOLD_S = 600.0
"""How long an outcome is held for a Redis that is away; after it the job's lease has long been someone else's."""


class Intended(IntEnum):
    """Whether a call may be made."""

    LOST = 0
    """The lease is someone else's, or Redis was away until it may be."""
    YES = 1
    ENVELOPE_SPENT = 2
    CANCELLED = 3


class AttemptStore:
    """The scripts of an attempt, on one batcher shared by all attempts of a process."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._intend, self._settle, self._finish, self._reschedule, self._tell, self._bury_corrupt = (
            load_script(_PACKAGE, verb) for verb in ("intend", "settle", "finish", "reschedule", "tell", "bury_corrupt")
        )

    async def intend(self, lease: Lease, call_id: str, intent: Mapping[str, Any], max_calls: int) -> Intended:
        """Ask to make a call, and write down that it will be made."""

        async def once() -> int:
            return int(await self._run(self._intend, lease, [call_id, orjson.dumps(intent), max_calls]))

        code = await _persist(once, until=lambda: not lease.trusted)
        return Intended.LOST if code is None else Intended(code)

    async def settle(
        self,
        lease: Lease,
        call_id: str,
        kind: str,
        end: Mapping[str, Any],
        *,
        cost_nanousd: int | None,
        uncertain_nanousd: int,
        ledger: Mapping[str, Encodable],
    ) -> None:
        """Write down what a call came to, also when the lease is lost: costs are never dropped."""
        cost = "" if cost_nanousd is None else cost_nanousd
        entry = [part for pair in ledger.items() for part in pair]
        args = [call_id, kind, orjson.dumps(end), cost, uncertain_nanousd, *entry]
        await _persist(lambda: self._run(self._settle, lease, args))

    async def finish(
        self,
        lease: Lease,
        state: str,
        *,
        field: str = "",
        body: bytes = b"",
        attempt: Mapping[str, Any],
        event: Mapping[str, Any],
    ) -> bool:
        """End the run; False when the lease was lost and nothing is written."""
        args = [state, field, body, orjson.dumps(attempt), orjson.dumps(event)]
        return await self._ended(lease, self._finish, args)

    async def reschedule(
        self, lease: Lease, *, delay_s: float, charged: bool, attempt: Mapping[str, Any] | None, reason: str
    ) -> bool:
        """Give the job back to its queue, for later or for now; False when the lease was lost."""
        told = orjson.dumps(attempt) if attempt else b""
        return await self._ended(lease, self._reschedule, [round(delay_s * 1000), int(charged), told, reason])

    async def bury_corrupt(self, lease: Lease, failure: JobFailure, keep_s: float) -> bool:
        """Put a dead letter in the place of a record that cannot be read; False when the lease was lost."""
        args: list[Encodable] = [
            lease.job_id,
            lease.token,
            lease.tenant,
            lease.lane,
            failure.model_dump_json(),
            round(keep_s * 1000),
        ]
        code = await _persist(lambda: self._batcher.call(self._bury_corrupt, [lease.queue], args))
        lease.released = code == 1
        return lease.released

    async def tell(self, lease: Lease, run: int, kind: str, data: Mapping[str, Any]) -> None:
        """Append a delta or a step of progress to the job's events; dropped while Redis is away."""
        try:
            await self._run(self._tell, lease, [run, kind, orjson.dumps(data)])
        except (RedisError, OSError) as error:
            if not is_away(error):
                raise

    async def _ended(self, lease: Lease, script: Script, args: list[Encodable]) -> bool:
        code = await _persist(lambda: self._run(script, lease, args))
        lease.released = code == 1
        return lease.released

    def _run(self, script: Script, lease: Lease, args: list[Any]) -> asyncio.Future[Any]:
        return self._batcher.call(script, [keys.record(lease.job_id)], [lease.job_id, lease.token, *args])


async def _persist(once: Callable[[], Awaitable[Any]], *, until: Callable[[], bool] = lambda: False) -> Any | None:
    """Do *once* until Redis takes it; None when *until* says to give up, or after ``HOLD_S``."""
    give_up_at, pause_s = time.monotonic() + HOLD_S, _PAUSE_S[0]
    while True:
        try:
            return await once()
        except (RedisError, OSError) as error:
            if not is_away(error):
                raise
        if until() or time.monotonic() > give_up_at:
            return None
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _PAUSE_S[1])
