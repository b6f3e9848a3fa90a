"""Renews the leases of all running jobs, from a thread, so that a busy event loop cannot starve it.

1. Every ``interval_s`` one call renews all leases held, over a connection of the thread's own.
2. Before that it asks the loop for a sign of life; a loop silent for longer than ``stall_bound_s`` is taken for
   hung, and its leases are renewed no more, so that its jobs move on to another worker.
3. A lease that was renewed is trusted until the renewal was *sent* + the lease - a margin: an answer that
   comes late makes no lease longer.
4. Leases that are someone else's by now are told to the loop.
5. With every beat it looks whether Redis is the one that it was (``Generation``), where the worker's source wants it;
   a change is told to the loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from penstock_schemas import keys
from penstock_store.scripts import load_script
from penstock_worker.engine.lease import Lease, about
from penstock_worker.engine.server import sentinels
from penstock_worker.engine.sources import TRUST_MARGIN

logger = logging.getLogger(__name__)

_RENEW = load_script("penstock_worker.engine", "renew")
_MOST = 1000
_AGAIN_S = 0.5
_MARK = load_script("penstock_worker.engine", "mark")
_KEPT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Change:
    """Redis is not the one that it was at the beat before."""

    lost: bool
    """State is known to be lost; if not, another server has taken over, and may have all of it."""


class Generation:
    """One worker's look at whether Redis is the one that it was, once with each beat. For one thread.

    1. A random name is written once and stands for the dataset. Another name: Redis came back empty, was flushed, or
       is a different one.
    2. With each beat a worker counts its own mark up. One that has fallen back: Redis was rewound, to what a replica
       or an old append-only file had, and this worker's last mark was in the part that is lost.
    3. Another server process under the same name proves nothing, but says when to look: whoever wrote something in the
       last seconds can see whether it is there.
    """

    def __init__(self) -> None:
        self._mark_key = keys.mark(secrets.token_hex(8))
        self._name: bytes | None = None
        self._server: bytes = b""
        self._marks = 0
        """Those that Redis has acknowledged."""
        self._marked_at = 0.0

    def look(self, client: redis.Redis) -> Change | None:
        """Leave the next mark; what has changed since the last one, None for nothing. Raises redis-py's errors."""
        args: list[Any] = [
            keys.GENERATION,
            self._mark_key,
            secrets.token_hex(8),
            self._marks + 1,
            round(_KEPT_S * 1000),
        ]
        try:
            reply: Any = client.evalsha(_MARK.sha, 2, *args)
        except NoScriptError:
            reply = client.eval(_MARK.text, 2, *args)
        name, before, server = reply
        change = self._change(name, int(before or 0), server)
        self._name, self._server = name, server
        self._marks, self._marked_at = self._marks + 1, time.monotonic()
        return change

    def _change(self, name: bytes, before: int, server: bytes) -> Change | None:
        if self._name is None:
            return None
        fell_back = before < self._marks and time.monotonic() - self._marked_at < _KEPT_S / 2
        if name != self._name or fell_back:
            return Change(lost=True)
        return Change(lost=False) if server != self._server else None


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
            logger.warning(
                "leases could not be renewed: %s", error, extra=about("renewal_failed", held=len(self._held))
            )
            return False
        except Exception:
            logger.exception("leases could not be renewed", extra=about("renewal_failed", held=len(self._held)))
            return False
        return True

    def _look_at_generation(self, client: redis.Redis) -> None:
        if self._changed is None:
            return
        try:
            change = self._generation.look(client)
        except ResponseError as error:  # it takes no writes now, or not this one: leases go first
            what = "whether Redis is the one that it was cannot be told: %s"
            logger.warning(what, error, extra=about("generation_unknown"))
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
        what = "the event loop is silent for %.0f s: its %d jobs are left to others"
        extra = about("loop_stalled", stall_s=round(silent_s), held=len(self._held))
        logger.error(what, silent_s, len(self._held), extra=extra)
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
