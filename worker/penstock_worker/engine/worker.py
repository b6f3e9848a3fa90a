"""``arq.Worker``, made fast and crash-safe. What it does differently, and how:

1. One script call claims as many jobs as there are free slots, with payload and try number (``claim.lua``).
2. Claiming leases: a random token, and the queue score moved to the lease's end, so that a lost worker's job comes
   due by itself. A thread renews all leases in one call (``heartbeat``).
3. Every job is one task (``slots``). Ends that fall together share one call, which compares each token (``endings``).
4. A full worker sleeps until a slot is free; an idle one until a key changes or a job is due (``wake``). Polling is
   only the safety net.
5. A Redis that is away ends nothing: running jobs go on, ends are held, claiming resumes.
6. A job whose workers died with it runs alone, and is given up after three more deaths (``slots``).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from functools import cached_property
from signal import Signals
from typing import Any

from arq.connections import create_pool, log_redis_info
from arq.utils import import_string
from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_schemas.errors import ConfigurationError
from penstock_store.connection import mend
from penstock_worker.engine import closing
from penstock_worker.engine.core import REDIS_TIMEOUT_S, Core, signature
from penstock_worker.engine.heartbeat import Change, Heartbeat
from penstock_worker.engine.lease import about
from penstock_worker.engine.server import blocking_client
from penstock_worker.engine.slots import Slots
from penstock_worker.engine.sources import name_of
from penstock_worker.engine.wake import Aborts, Waker

logger = logging.getLogger("arq.worker")

_ABORT = keys.ARQ_ABORT.encode()
_BURST_POLL_S = 0.05
_AWAY_S = 0.05, 1.0

DRAIN_S = 30.0
"""Drain window where the application names no ``job_completion_wait``."""


class Worker(Core):
    """Drop-in for ``arq.Worker``. Its arguments are those of :class:`Core`."""

    _away_s = _AWAY_S[0]

    @cached_property
    def slots(self) -> Slots:
        """Where jobs are claimed into and run."""
        return Slots(self)

    @cached_property
    def _aborts(self) -> Aborts:
        return Aborts(self.held, self.idle, lambda: self.batcher)

    # The main loop.

    async def main(self) -> None:
        """Run until cancelled, which hands running jobs back, or, in burst mode, until the queue is empty.

        Raises ConfigurationError for an unsafe server; redis-py's errors only while it starts.
        """
        self.serving, self.stopping = asyncio.current_task(), False
        await self._open()
        self.heartbeat = Heartbeat(
            self.held,
            self.lose,
            lambda: blocking_client(self.pool, timeout_s=REDIS_TIMEOUT_S),
            lease_s=self.lease_s,
            interval_s=self.heartbeat_s,
            stall_bound_s=self.stall_bound_s,
            changed=self._server_changed if self.source.handler is not None else None,
        )
        waker = self.idle.waker = Waker(self.pool, self._keys_changed)
        self.heartbeat.start()
        waker.start()
        watching = self.loop.create_task(self._watch_aborts(), name="penstock-aborts")
        try:
            await self._serve()
        except asyncio.CancelledError:
            closing.cancel_jobs(self)
            raise
        finally:
            watching.cancel()
            await closing.settle(self)
            await asyncio.gather(watching, waker.stop(), self.heartbeat.stop(), return_exceptions=True)
            self.idle.waker = None

    async def _open(self) -> None:
        if self._pool is None:
            self._pool = await create_pool(
                self.redis_settings,
                job_deserializer=self.job_deserializer,
                job_serializer=self.job_serializer,
                default_queue_name=self.queue_name,
                expires_extra_ms=self.expires_extra_ms,
            )
            await self._pool.connection_pool.disconnect()
            self._pool.connection_pool.reset()  # type: ignore[no-untyped-call]
            mend(self._pool.connection_pool)
        logger.info("Starting worker for %d functions: %s", len(self.functions), ", ".join(self.functions))
        await log_redis_info(self.pool, logger.info)
        await self.server.at_start(self.pool)
        self.ctx["redis"] = self.pool
        if self.on_startup:
            await self.on_startup(self.ctx)

    async def _serve(self) -> None:
        while True:
            try:
                await self._poll_iteration()
                self._away_s = _AWAY_S[0]
                if self.burst and await self._burst_is_over():
                    return
                await self._rest()
            except (RedisError, OSError, TimeoutError) as error:
                await self._wait_for_redis(error)

    async def _poll_iteration(self) -> None:
        """Fill the free slots, then see to health and cron. Raises redis-py's errors."""
        self.idle.look()
        await self.slots.fill()
        async with asyncio.timeout(2 * REDIS_TIMEOUT_S):
            await self.heart_beat()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Claim and start the jobs among *job_ids* that are due, as far as there are free slots."""
        await self.slots.fill_with([(self.queue_name, name_of(job_id)) for job_id in job_ids])

    async def _rest(self) -> None:
        has_slots = self.slots.free() > 0
        if has_slots and self.slots.more_due:
            await asyncio.sleep(0)
            return
        most_s = self.poll_delay_s or _BURST_POLL_S
        if has_slots and self.slots.next_due_s is not None:
            most_s = min(most_s, self.slots.next_due_s)
        lacks_slots = not has_slots or self.slots.kept
        await self.idle.rest(self.source.watched(), has_slots=has_slots, lacks_slots=lacks_slots, most_s=most_s)

    def _keys_changed(self, names: set[bytes] | None) -> None:
        if names is None or _ABORT in names:
            self._aborts.appeared()
        if names is None or names != {_ABORT}:
            self.idle.work_appeared()

    async def _burst_is_over(self) -> bool:
        if 0 <= self.max_burst_jobs <= self._jobs_started():
            return True
        if self.tasks or self.endings.waiting:
            return False
        return await self.source.is_empty(self.batcher)

    async def _wait_for_redis(self, error: Exception) -> None:
        kind, what = type(error).__name__, "Redis is away (%s: %s), next try in %.2fs"
        logger.warning(what, kind, error, self._away_s, extra=about("redis_away", error=kind, delay_s=self._away_s))
        await self.pool.connection_pool.disconnect(inuse_connections=False)
        await asyncio.sleep(self._away_s)
        self._away_s = min(2 * self._away_s, _AWAY_S[1])

    def _server_changed(self, change: Change) -> None:
        if change.lost:
            self.state_lost("all that it held, or the last of it, is gone")
        if self.on_new_server is not None:
            self.on_new_server(change.lost)

    # Aborts, health, the end: each in its module.

    async def _watch_aborts(self) -> None:
        if self.allow_abort_jobs or self.source.handler is not None:
            await self._aborts.watch()

    async def _cancel_aborted_jobs(self) -> None:
        await self._aborts.apply()

    async def heart_beat(self) -> None:
        """See to cron and health, as arq does, and now and then to the server's settings."""
        await super().heart_beat()
        await self.server.now_and_then(self.pool)

    async def record_health(self) -> None:
        await closing.record_health(self)

    def handle_sig(self, signum: Signals) -> None:
        closing.mark_drained(self)
        super().handle_sig(signum)

    def handle_sig_wait_for_completion(self, signum: Signals) -> None:
        self.stopping = True
        for lease in self.held.values():
            lease.leaving = True
        super().handle_sig_wait_for_completion(signum)

    async def _wait_for_tasks_to_complete(self, signum: Signals) -> None:
        await closing.drain(self, signum)

    async def close(self) -> None:
        await closing.close(self)
        self._pool = self._batcher = self._endings = None


Worker.__signature__ = signature(Core)


def make_arq_worker(settings: str | type[Any], **options: Any) -> Worker:
    """The worker that an arq settings class describes, given as itself or as ``"package.module.WorkerSettings"``.

    *options* are laid over its attributes. Raises ConfigurationError for a class that cannot be imported or has
    neither functions nor cron jobs.
    """
    try:
        cls = import_string(settings) if isinstance(settings, str) else settings
    except ImportError as error:
        raise ConfigurationError("--arq", f"{settings}: {error}") from None
    known = inspect.signature(Worker).parameters
    kwargs = {name: value for name, value in vars(cls).items() if name in known} | options
    if "job_completion_wait" not in kwargs:
        kwargs.setdefault("drain_s", DRAIN_S)
    try:
        return Worker(**kwargs)
    except RuntimeError as error:
        raise ConfigurationError("--arq", f"{settings}: {error}") from None
