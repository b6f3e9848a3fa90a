"""``arq.Worker``, made fast and crash-safe. What it does differently, and how:

1. One script call claims as many jobs as there are free slots, with payload and try number (``claim.lua``).
2. Claiming leases: a random token, and the queue score moved to the lease's end, so that a lost worker's job comes
   due by itself. A thread renews all leases in one call (``heartbeat``).
3. Every job is one task (``slots``). Ends that fall together share one call, which compares each token (``endings``).
4. A full worker sleeps until a slot is free; an idle one until a key changes or a job is due (``wake``). Polling is
   only the safety net.
5. A Redis that is away ends nothing: running jobs go on, ends are held, claiming resumes.
6. A job whose workers died with it runs alone, and is given up after three more deaths (``room``).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from signal import Signals
from typing import Any, ClassVar

import arq.worker
from arq.connections import create_pool, log_redis_info
from arq.worker import Function
from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_store.batcher import Batcher
from penstock_store.connection import mend
from penstock_worker.engine import closing
from penstock_worker.engine.aborts import Aborts
from penstock_worker.engine.endings import Endings
from penstock_worker.engine.generation import Change
from penstock_worker.engine.heartbeat import Heartbeat
from penstock_worker.engine.lease import Lease
from penstock_worker.engine.links import blocking_client
from penstock_worker.engine.server import ServerCheck, ServerNeeds
from penstock_worker.engine.slots import Slots
from penstock_worker.engine.sources import ArqQueue, Source
from penstock_worker.engine.wake import Idle, Waker

logger = logging.getLogger("arq.worker")

REDIS_TIMEOUT_S = 2.0
"""Bound on each reply: what is away is noticed within it."""

_ABORT = keys.ARQ_ABORT.encode()
_BURST_POLL_S = 0.05
_AWAY_S = 0.05, 1.0


class Worker(arq.worker.Worker):
    """Drop-in for ``arq.Worker``: the same arguments, and those below, keyword only.

    :param source: where jobs come from; None for the arq queue ``queue_name``
    :param lease_s: how long a claimed job is this worker's without a renewal; a killed worker's jobs run again after it
    :param heartbeat_s: how often leases are renewed; at most a third of ``lease_s``
    :param drain_s: how long running jobs may go on after SIGTERM or SIGINT before they are handed back, uncharged;
        None for arq's ``job_completion_wait``
    :param stall_bound_s: after how long a silent event loop is taken for hung and its jobs are left to other workers
    :param on_refused: called with each lease whose end was refused, since someone else holds the job by now
    :param server_needs: what Redis must have beyond noeviction and version 7.0; None for nothing more
    :param on_new_server: called when another server answers than before, with whether state is known to be lost
    """

    __signature__: ClassVar[inspect.Signature]

    def __init__(
        self,
        functions: Sequence[Function | Any] = (),
        *,
        source: Source | None = None,
        lease_s: float = 10.0,
        heartbeat_s: float = 3.0,
        drain_s: float | None = None,
        stall_bound_s: float = 30.0,
        on_refused: Callable[[Lease], None] | None = None,
        on_new_server: Callable[[bool], None] | None = None,
        server_needs: ServerNeeds | None = None,
        **arq_options: Any,
    ) -> None:
        if not 0 < heartbeat_s <= lease_s / 3:
            raise ValueError(f"heartbeat_s ({heartbeat_s}) must be more than 0, at most lease_s / 3 ({lease_s / 3})")
        if drain_s is not None:
            arq_options["job_completion_wait"] = drain_s
        handler = source.handler if source is not None else None
        if handler is not None and not functions:
            functions = [arq.worker.func(_no_function, name="handler")]
        super().__init__(functions, **arq_options)
        self.source: Source = source if source is not None else ArqQueue(self.queue_name)
        self.lease_s = lease_s
        self.heartbeat_s = heartbeat_s
        self.stall_bound_s = stall_bound_s
        self.on_refused = on_refused
        self.on_new_server = on_new_server
        self.stopping = False
        """Set by the first signal: nothing is started any more."""
        self.jobs_lost = 0
        """Jobs cancelled since their lease was someone else's."""
        self.jobs_refused = 0
        """Results that were dropped since the lease was lost by the time they were there."""
        self.states_lost = 0
        """How often Redis was found to have lost what it held, or a part of it."""
        self.slots = Slots(self)
        self.held = self.slots.held
        """Leases by token, from claim to the answer that ends them; the heartbeat renews these."""
        self.idle = Idle()
        self.server = ServerCheck(server_needs or ServerNeeds())
        self.concern: str | None = None
        """Why it is not well though it works on, set by who runs it; it is then not ready."""
        self.heartbeat: Heartbeat | None = None
        self.health_written = b""
        self.serving: asyncio.Task[None] | None = None
        self._aborts = Aborts(self)
        self._away_s = _AWAY_S[0]
        self._batcher: Batcher | None = None
        self._endings: Endings | None = None

    @property
    def batcher(self) -> Batcher:
        """Shares round trips between all that the engine and its handler send."""
        if self._batcher is None:
            self._batcher = Batcher(self.pool, timeout_s=REDIS_TIMEOUT_S)
        return self._batcher

    @property
    def endings(self) -> Endings:
        """Writes how arq functions ended."""
        if self._endings is None:
            self._endings = Endings(
                self.batcher, keep_retried_ms=self.expires_extra_ms, released=self.slots.forget, refused=self._refused
            )
        return self._endings

    # The main loop.

    async def main(self) -> None:
        """Run until cancelled, which hands running jobs back, or, in burst mode, until the queue is empty.

        Raises ConfigurationError for an unsafe server; redis-py's errors only while it starts.
        """
        self.serving, self.stopping = asyncio.current_task(), False
        await self._open()
        self.heartbeat = Heartbeat(
            self.held,
            self.slots.lose,
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
        await self.slots.fill_with([(self.queue_name, job_id.decode()) for job_id in job_ids])

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
        logger.warning("Redis is away (%s: %s), next try in %.2fs", type(error).__name__, error, self._away_s)
        await self.pool.connection_pool.disconnect(inuse_connections=False)
        await asyncio.sleep(self._away_s)
        self._away_s = min(2 * self._away_s, _AWAY_S[1])

    def _server_changed(self, change: Change) -> None:
        if change.lost:
            self.state_lost("all that it held, or the last of it, is gone")
        if self.on_new_server is not None:
            self.on_new_server(change.lost)

    def state_lost(self, what: str) -> None:
        """Count and say that Redis has lost state."""
        self.states_lost += 1
        logger.error("state_lost: Redis is not the one that it was: %s", what)

    def _refused(self, lease: Lease) -> None:
        self.jobs_refused += 1
        if self.on_refused is not None:
            self.on_refused(lease)

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


async def _no_function(ctx: dict[Any, Any]) -> None:
    """Stands where arq.Worker wants a function, when all jobs go to a handler."""
    raise NotImplementedError("this worker runs no arq functions")


def _signature() -> inspect.Signature:
    """arq's parameters and then ours, for ``arq.worker.get_kwargs``, which picks settings by parameter name."""
    theirs = inspect.signature(arq.worker.Worker.__init__).parameters
    ours = inspect.signature(Worker.__init__).parameters
    merged = {name: own for name, own in {**theirs, **ours}.items() if name not in ("self", "arq_options")}
    return inspect.Signature(list(merged.values()))


Worker.__signature__ = _signature()
