"""Renews the leases of all running jobs, from a thread, so that a busy event loop cannot starve it.

1. Every ``interval_s`` one call renews all leases held, over a connection of the thread's own.
2. Before that it asks the loop for a sign of life; a loop silent for longer than ``stall_bound_s`` is taken for
   hung, and its leases are renewed no more, so that its jobs move on to another worker.
3. A lease that was renewed is trusted until the renewal was *sent* + the lease - a margin: an answer that
   comes late makes no lease longer.
4. Leases that are someone else's by now are told to the loop.
5. With every beat it looks whether Redis is the one that it was (``generation``), where the worker's source wants it;
   a change is told to the loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from penstock_store.scripts import load_script
from penstock_worker.engine.generation import Change, Generation
from penstock_worker.engine.lease import Lease
from penstock_worker.engine.links import sentinels
from penstock_worker.engine.sources import TRUST_MARGIN

logger = logging.getLogger(__name__)

_RENEW = load_script("penstock_worker.engine", "renew")
_MOST = 1000
_AGAIN_S = 0.5


class Heartbeat:
    """*held* is the worker's table of leases, read by the thread; *lost* and *changed* are called in the loop.

    *changed* None: nobody wants to know whether Redis is the one that it was.
    """

    def __init__(
        self,
        held: dict[str, Lease],
        lost: Callable[[list[Lease]], None],
        make_client: Callable[[], redis.Redis],
        *,
        lease_s: float,
        interval_s: float,
        stall_bound_s: float,
        changed: Callable[[Change], None] | None = None,
    ) -> None:
        self._held = held
        self._lost = lost
        self._make_client = make_client
        self._lease_s = lease_s
        self._interval_s = interval_s
        self._stall_bound_s = stall_bound_s
        self._changed = changed
        self._generation = Generation()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop_seen_at = 0.0
        self.renewed_at: float | None = None
        """When Redis last answered the heartbeat, by ``time.monotonic``; None before the first."""

    def start(self) -> None:
        """Start the thread, for the running loop."""
        self._loop = asyncio.get_running_loop()
        self._stopped.clear()
        self._saw_loop()
        self._thread = threading.Thread(target=self._run, name="penstock-heartbeat", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; leases that are still held then run out."""
        self._stopped.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _saw_loop(self) -> None:
        self._loop_seen_at = time.monotonic()

    def _run(self) -> None:
        client = self._make_client()
        wait_s = 0.0  # what Redis is has to be known before anything can happen to it
        try:
            while not self._stopped.wait(wait_s):
                wait_s = self._interval_s if self._beat(client) else min(_AGAIN_S, self._interval_s)
        finally:
            for each in (client, *sentinels(client)):
                each.close()

    def _beat(self, client: redis.Redis) -> bool:
        """Renew once; False when it has to be tried again soon."""
        if not self._loop_lives():
            return True
        try:
            self._look_at_generation(client)
            self._renew(client, [lease for lease in self._held.copy().values() if not lease.released])
        except (RedisError, OSError) as error:
            logger.warning("leases could not be renewed: %s", error)
            return False
        except Exception:
            logger.exception("leases could not be renewed")
            return False
        return True

    def _look_at_generation(self, client: redis.Redis) -> None:
        if self._changed is None:
            return
        try:
            change = self._generation.look(client)
        except ResponseError as error:  # it takes no writes now, or not this one: leases go first
            logger.warning("whether Redis is the one that it was cannot be told: %s", error)
            return
        if change is not None:
            self._loop.call_soon_threadsafe(self._changed, change)

    def _loop_lives(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._saw_loop)
        except RuntimeError:  # the loop is closed
            return False
        silent_s = time.monotonic() - self._loop_seen_at
        if silent_s <= self._stall_bound_s:
            return True
        logger.error("the event loop is silent for %.0f s: its %d jobs are left to others", silent_s, len(self._held))
        return False

    def _renew(self, client: redis.Redis, leases: list[Lease]) -> None:
        lost: list[Lease] = []
        if not leases:
            client.ping()
            self.renewed_at = time.monotonic()
        for first in range(0, len(leases), _MOST):
            lost += self._renew_some(client, leases[first : first + _MOST])
        if lost:
            self._loop.call_soon_threadsafe(self._lost, lost)

    def _renew_some(self, client: redis.Redis, leases: list[Lease]) -> list[Lease]:
        args: list[Any] = [lease.queue for lease in leases]
        args.append(int(self._lease_s * 1000))
        for lease in leases:
            args += (lease.raw_id, lease.token)
        sent_at = time.monotonic()
        try:
            places: Any = client.evalsha(_RENEW.sha, len(leases), *args)
        except NoScriptError:
            places = client.eval(_RENEW.text, len(leases), *args)
        self.renewed_at = time.monotonic()
        lost = [leases[place - 1] for place in places]
        for lease in set(leases).difference(lost):
            lease.trusted_until = sent_at + self._lease_s * (1 - TRUST_MARGIN)
        return lost
