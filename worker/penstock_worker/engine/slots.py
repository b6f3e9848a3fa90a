"""The slots of a worker: claims jobs into the free ones, and runs each as one task from its lease to the end of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_worker.engine.functions import run_function
from penstock_worker.engine.lease import Claim, Lease
from penstock_worker.engine.room import Room
from penstock_worker.engine.sources import Ask, Handler

if TYPE_CHECKING:
    from penstock_worker.engine.worker import Worker

logger = logging.getLogger("arq.worker")

_LONGEST_PATIENCE_S = 600.0


class Slots:
    """``max_jobs`` of them. The running tasks are in ``worker.tasks``, by job id, as arq has them."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.held: dict[str, Lease] = {}
        """Leases by token, from claim to the answer that ends them; the heartbeat renews these."""
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
            await self._worker.batcher.execute("PEXPIRE", keys.suspect(suspect[1]), lease_ms)

    async def fill_with(self, named: list[tuple[str, str]]) -> None:
        """Claim those of these jobs, by queue and id, that are due, as far as there are free slots."""
        slots = self.free()
        if slots > 0 and named:
            await self._claim(slots, named)

    async def _claim(self, slots: int, named: list[tuple[str, str]]) -> Claim:
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
                logger.warning("job %s: the claim's answer came too late to be trusted", lease.job_id)
                self._room.ended(lease)

    def _start(self, lease: Lease) -> None:
        worker = self._worker
        self.held[lease.token] = lease
        run = self._run(lease)
        if worker.stopping:
            lease.cancel_reason = "drain"
            if worker.source.handler is None:
                run.close()
                run = self.hand_back(lease)
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
            logger.exception("job %s: left to run out of its lease", lease.job_id)
            self.forget(lease)
        finally:
            self.free_slot(lease)

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
            logger.warning("job %s: cancelled (%s)", lease.job_id, lease.cancel_reason)
        if not lease.released and lease.cancel_reason != "lost":
            logger.warning("job %s: its handler left it unfinished, its lease runs out", lease.job_id)
        self.forget(lease)

    # How a slot is given up.

    def free_slot(self, lease: Lease) -> None:
        """The job no longer runs; its end may still have to be written. Again: nothing more."""
        worker = self._worker
        lease.concluded = True
        if worker.tasks.get(lease.job_id) is lease.task:
            worker.tasks.pop(lease.job_id, None)
            worker.job_tasks.pop(lease.job_id, None)
            if lease.flow:
                self._freed(lease.flow)
        self._room.ended(lease)
        worker.idle.slot_freed(always=worker.burst)

    def _freed(self, flow: str) -> None:
        self._by_flow[flow] -= 1
        if not self._by_flow[flow]:
            del self._by_flow[flow]

    def forget(self, lease: Lease) -> None:
        """The lease is over, or left to run out."""
        self.held.pop(lease.token, None)

    async def hand_back(self, lease: Lease) -> None:
        """Give one job back, uncharged, if Redis is there; else its lease runs out."""
        try:
            await self._worker.endings.hand_back([lease])
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("job %s could not be handed back: %s", lease.job_id, error)
            self.forget(lease)
        self.free_slot(lease)

    def lose(self, leases: list[Lease]) -> None:
        """Cancel the jobs of leases that are someone else's by now."""
        for lease in leases:
            if self.held.get(lease.token) is lease and not lease.released:
                lease.cancel("lost")
