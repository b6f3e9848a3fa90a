"""What a worker is: its settings, the leases it holds, how one is given up, and what its parts share.

The loop that works on it is in ``worker``; here is all that the parts of the engine know of the worker they belong to.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import arq.worker
from arq.worker import Function
from redis.exceptions import RedisError

from penstock_store.batcher import Batcher
from penstock_worker.engine.endings import Endings
from penstock_worker.engine.heartbeat import Heartbeat
from penstock_worker.engine.lease import Lease, about
from penstock_worker.engine.server import ServerCheck, ServerNeeds
from penstock_worker.engine.sources import ArqQueue, Source
from penstock_worker.engine.wake import Idle

logger = logging.getLogger("arq.worker")

REDIS_TIMEOUT_S = 2.0
"""Bound on each reply: what is away is noticed within it."""


class Core(arq.worker.Worker):
    """Takes the arguments of ``arq.Worker``, and those below, keyword only.

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
        self.held: dict[str, Lease] = {}
        """Leases by token, from claim to the answer that ends them; the heartbeat renews these."""
        self.idle = Idle()
        self.server = ServerCheck(server_needs or ServerNeeds())
        self.concern: str | None = None
        """Why it is not well though it works on, set by who runs it; it is then not ready."""
        self.on_slot_free: Callable[[Lease], None] = lambda lease: None
        """Called with each lease whose job no longer runs, once."""
        self.heartbeat: Heartbeat | None = None
        self.health_written = b""
        self.serving: asyncio.Task[None] | None = None
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
                self.batcher, keep_retried_ms=self.expires_extra_ms, released=self.forget, refused=self._refused
            )
        return self._endings

    # How a lease is given up.

    def free_slot(self, lease: Lease) -> None:
        """The job no longer runs; its end may still have to be written. Again: nothing more."""
        lease.concluded = True
        if self.tasks.get(lease.job_id) is lease.task:
            self.tasks.pop(lease.job_id, None)
            self.job_tasks.pop(lease.job_id, None)
        if not lease.slot_free:
            lease.slot_free = True
            self.on_slot_free(lease)
        self.idle.slot_freed(always=self.burst)

    def forget(self, lease: Lease) -> None:
        """The lease is over, or left to run out."""
        self.held.pop(lease.token, None)

    async def hand_back(self, lease: Lease) -> None:
        """Give one job back, uncharged, if Redis is there; else its lease runs out."""
        try:
            await self.endings.hand_back([lease])
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning(
                "job %s could not be handed back: %s", lease.job_id, error, extra=about("hand_back_failed", lease)
            )
            self.forget(lease)
        self.free_slot(lease)

    def lose(self, leases: list[Lease]) -> None:
        """Cancel the jobs of leases that are someone else's by now."""
        for lease in leases:
            if self.held.get(lease.token) is lease and not lease.released:
                lease.cancel("lost")

    def state_lost(self, what: str) -> None:
        """Count and say that Redis has lost state."""
        self.states_lost += 1
        logger.error("state_lost: Redis is not the one that it was: %s", what, extra=about("state_lost"))

    def _refused(self, lease: Lease) -> None:
        self.jobs_refused += 1
        if self.on_refused is not None:
            self.on_refused(lease)


async def _no_function(ctx: dict[Any, Any]) -> None:
    """Stands where arq.Worker wants a function, when all jobs go to a handler."""
    raise NotImplementedError("this worker runs no arq functions")


def signature(cls: type[Core]) -> inspect.Signature:
    """arq's parameters and then ours, for ``arq.worker.get_kwargs``, which picks settings by parameter name."""
    theirs = inspect.signature(arq.worker.Worker.__init__).parameters
    ours = inspect.signature(cls.__init__).parameters
    merged = {name: own for name, own in {**theirs, **ours}.items() if name not in ("self", "arq_options")}
    return inspect.Signature(list(merged.values()))
