"""The slots of a worker: claims jobs into the free ones, and runs each as one task from its lease to the end of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_worker.engine.core import Core
from penstock_worker.engine.functions import run_function
from penstock_worker.engine.lease import Claim, Lease, about
from penstock_worker.engine.sources import Ask, Handler

logger = logging.getLogger("arq.worker")

_LONGEST_PATIENCE_S = 600.0


class Slots:
    """``max_jobs`` of them. The running tasks are in ``worker.tasks``, by job id, as arq has them."""

    def __init__(self, worker: Core) -> None:
        self._worker = worker
        worker.on_slot_free = self._freed
        self.more_due = False
        """Whether the last claim filled all free slots, so that there may be more to claim."""
        self.next_due_s: float | None = None
        """In how many seconds, from the last claim on, the next job is due; None when there is none."""
        self.kept = False
        """Whether the last claim left due jobs, since the slots that are still free are kept for others."""
        self._by_flow: dict[str, int] = {}
        # As long as the longest job may run, within reason: by then a worker that takes nothing new is idle.
        self._room = Room(min(float(worker.in_progress_timeout_s), _LONGEST_PATIENCE_S))

    # Claiming.

    def free(self) -> int:
        """How many jobs may be claimed now."""
        worker = self._worker
        if not worker.allow_pick_jobs or worker.stopping:
            return 0
        free = min(worker.max_jobs - len(worker.tasks), worker.queue_read_limit)
        if worker.burst and worker.max_burst_jobs >= 0:
            free = min(free, worker.max_burst_jobs - worker._jobs_started())
        return self._room.slots(free, idle=not worker.tasks)

    async def fill(self) -> None:
        """Claim what is due into the free slots. Raises redis-py's errors."""
        slots = self.free()
        self.more_due = False
        if slots > 0:
            claim = await self._claim(slots, self._room.named())
            self.more_due = len(claim.leases) >= slots
            self.next_due_s, self.kept = claim.next_due_s, claim.kept
        elif (suspect := self._room.waits_for) is not None:
            lease_ms = round(self._worker.lease_s * 1000)
            key = keys.suspect("").encode() + (suspect[1] if isinstance(suspect[1], bytes) else suspect[1].encode())
            await self._worker.batcher.execute("PEXPIRE", key, lease_ms)

    async def fill_with(self, named: list[tuple[str, str | bytes]]) -> None:
        """Claim those of these jobs, by queue and id, that are due, as far as there are free slots."""
        slots = self.free()
        if slots > 0 and named:
            await self._claim(slots, named)

    async def _claim(self, slots: int, named: list[tuple[str, str | bytes]]) -> Claim:
        worker = self._worker
        ask = Ask(slots, worker.lease_s, not worker.tasks, worker.lease_s, named, self._by_flow)
        claiming = asyncio.ensure_future(worker.source.claim(worker.batcher, ask))
        try:
            claim = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # What is being claimed has to be run or handed back: left alone, it would count as a death.
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                self._start_all(await claiming)
            raise
        self._room.note(claim, named)
        self._start_all(claim)
        return claim

    # Running.

    def _start_all(self, claim: Claim) -> None:
        for lease in claim.leases:
            if lease.trusted:
                self._start(lease)
            else:
                what = "job %s: the claim's answer came too late to be trusted"
                logger.warning(what, lease.job_id, extra=about("claim_late", lease))
                self._room.ended(lease)

    def _start(self, lease: Lease) -> None:
        worker = self._worker
        worker.held[lease.token] = lease
        run = self._run(lease)
        if worker.stopping:
            lease.cancel_reason = "drain"
            if worker.source.handler is None:
                run.close()
                run = worker.hand_back(lease)
        lease.task = worker.loop.create_task(run)
        worker.tasks[lease.job_id] = worker.job_tasks[lease.job_id] = lease.task
        if lease.flow:
            self._by_flow[lease.flow] = self._by_flow.get(lease.flow, 0) + 1

    async def _run(self, lease: Lease) -> None:
        handler = self._worker.source.handler
        try:
            if handler is None:
                await run_function(self._worker, lease)
            else:
                await self._handle(handler, lease)
        except Exception:
            logger.exception("job %s: left to run out of its lease", lease.job_id, extra=about("job_abandoned", lease))
            self._worker.forget(lease)
        finally:
            self._worker.free_slot(lease)

    async def _handle(self, handler: Handler, lease: Lease) -> None:
        ctx: dict[Any, Any] = {
            **self._worker.ctx,
            "job_id": lease.job_id,
            "job_try": lease.job_try,
            "score": lease.score_ms,
            "lease": lease,
        }
        if lease.abort_asked_ms:
            self._worker.loop.call_soon(lease.cancel, "abort")
        try:
            await handler(ctx, lease)
        except asyncio.CancelledError:
            extra = about("job_cancelled", lease, reason=lease.cancel_reason)
            logger.warning("job %s: cancelled (%s)", lease.job_id, lease.cancel_reason, extra=extra)
        if not lease.released and lease.cancel_reason != "lost":
            what = "job %s: its handler left it unfinished, its lease runs out"
            logger.warning(what, lease.job_id, extra=about("job_unfinished", lease))
        self._worker.forget(lease)

    def _freed(self, lease: Lease) -> None:
        self._room.ended(lease)
        left = self._by_flow.get(lease.flow, 0) - 1
        if left > 0:
            self._by_flow[lease.flow] = left
        else:
            self._by_flow.pop(lease.flow, None)


class Room:
    """How many jobs may be claimed now, where some jobs must be alone in their process.

    A job whose holders vanished is a suspect. An idle worker takes it at once, alone. A busy one leaves it; one of
    those that saw it is chosen by the claim script to make room: it claims nothing until it is idle, and then that job.
    It gives up after its patience, *patience_s*, and another is chosen; as when it dies meanwhile: it is chosen for the
    time of a lease, which it prolongs while it makes room.
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._alone: Lease | None = None
        self._suspect: tuple[str, str | bytes] | None = None
        self._give_up_at = 0.0

    def slots(self, free: int, *, idle: bool) -> int:
        """How many of *free* slots may be filled now."""
        if self._alone is not None:
            return 0
        if self._suspect is not None and time.monotonic() >= self._give_up_at:
            self._suspect = None
        if self._suspect is not None:
            return 1 if idle else 0
        return free

    @property
    def waits_for(self) -> tuple[str, str | bytes] | None:
        """Queue and id of the job that room is being made for; None when it is for none."""
        return self._suspect if self._alone is None else None

    def named(self) -> list[tuple[str, str | bytes]]:
        """Queue and id of the one job that the next claim is for; empty when it is for any."""
        return [self._suspect] if self._suspect is not None else []

    def note(self, claim: Claim, named: list[tuple[str, str | bytes]]) -> None:
        """Take in the answer to a claim; call before its jobs are started."""
        if named and named == self.named():
            self._suspect = None
        if claim.suspect is not None and self._suspect is None:
            self._suspect, self._give_up_at = claim.suspect, time.monotonic() + self.patience_s
        if claim.alone:
            self._alone = claim.leases[0]

    def ended(self, lease: Lease) -> None:
        """*lease* runs no more, or was not started."""
        if self._alone is lease:
            self._alone = None
