"""Where the main loop sleeps, and how a key's change, whoever makes it, ends that sleep without polling.

1. One connection listens for invalidation messages; a second one has key tracking on, redirected to the first
   (``CLIENT TRACKING ON REDIRECT``; https://redis.io/docs/latest/develop/reference/client-side-caching/).
2. Reading a key over the second one arms it: its next change, by any client, sends one message. Stock producers
   need to know nothing of it.
3. Who waits arms first and looks for work after that, so no change falls between.

``Waker`` does that, ``Idle`` is the sleep: until a slot is free, a watched key changes, a job is due, or a poll is.
``Aborts`` watches the set of jobs whose abort was asked for in the same way.
Where tracking is refused (an ACL, a proxy) or a connection is lost, the worker falls back to polling until the
connections are there again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from penstock_schemas import keys
from penstock_store.batcher import Batcher
from penstock_store.scripts import load_script
from penstock_worker.engine.lease import Lease, about
from penstock_worker.engine.server import ask, own_connection

logger = logging.getLogger(__name__)

_CHANNEL = "__redis__:invalidate"
_TIMEOUT_S = 2.0
_QUIET_S = 5.0
_AGAIN_S = 0.5
_REFUSED_AGAIN_S = 60.0

_TIDY = load_script("penstock_worker.engine", "tidy")
_READ_ABORTS = ("ZRANGE", keys.ARQ_ABORT, "0", "-1")
_AGED_MS = 60_000
_TIDY_EVERY_S = 30.0
_POLL_S = 0.5


class Waker:
    """Calls *changed* with the names of keys that were armed and have changed since; None: all of them may have."""

    def __init__(self, redis: Redis, changed: Callable[[set[bytes] | None], None]) -> None:
        self._redis = redis
        self._changed = changed
        self._reader: AbstractConnection | None = None
        self._listener: AbstractConnection | None = None
        self._reading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect in the background."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="penstock-waker")

    async def stop(self) -> None:
        """Drop the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def arm(self, commands: Sequence[tuple[str, ...]]) -> list[Any] | None:
        """Read by *commands* and watch what was read; None when nothing can be watched at present."""
        async with self._reading:
            if self._reader is None:
                return None
            try:
                return [await ask(self._reader, *command, timeout_s=_TIMEOUT_S) for command in commands]
            except (RedisError, OSError, TimeoutError):
                await self._give_up()
                return None

    async def _give_up(self) -> None:
        """Have both connections made anew: the listener's end wakes the task that holds them."""
        self._reader = None
        if self._listener is not None:
            await self._listener.disconnect(nowait=True)

    async def _run(self) -> None:
        while True:
            wait_s = _AGAIN_S
            try:
                await self._listen()
            except ResponseError as error:
                logger.warning("cannot watch keys, polling instead: %s", error, extra=about("watch_refused"))
                wait_s = _REFUSED_AGAIN_S
            except (RedisError, OSError, TimeoutError) as error:
                logger.info("lost the connection that watches keys: %s", error, extra=about("watch_lost"))
            except Exception:
                logger.exception("the watch on keys failed, polling meanwhile", extra=about("watch_failed"))
            finally:
                self._reader = None
                self._changed(None)
            await asyncio.sleep(wait_s)

    async def _listen(self) -> None:
        async with _connected(self._redis) as listener, _connected(self._redis) as reader:
            listener_id = await ask(listener, "CLIENT", "ID", timeout_s=_TIMEOUT_S)
            await ask(listener, "SUBSCRIBE", _CHANNEL, timeout_s=_TIMEOUT_S)
            await ask(reader, "CLIENT", "TRACKING", "ON", "REDIRECT", str(listener_id), timeout_s=_TIMEOUT_S)
            self._reader, self._listener = reader, listener
            self._changed(None)
            await self._deliver(listener)

    async def _deliver(self, listener: AbstractConnection) -> None:
        quiet = False
        while True:
            message = await listener.read_response(timeout=_QUIET_S, disconnect_on_error=False)
            if message is None:  # so redis-py says that the time is over
                if quiet:
                    raise TimeoutError
                quiet = True
                await listener.send_command("PING")
                continue
            quiet = False
            if message[0] == b"message":
                self._changed(set(message[2]) if message[2] is not None else None)


class Idle:
    """One sleeper, woken from the same event loop."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._for_work = False
        self._for_slot = True
        self._armed = False
        self.waker: Waker | None = None
        """Tells when watched keys change; without one, sleeps end by polling."""

    def look(self) -> None:
        """Call before looking for work: what happens from now on ends the next sleep."""
        self._woken.clear()

    def work_appeared(self) -> None:
        """A watched key has changed: there may be work for a free slot."""
        self._armed = False
        if self._for_work:
            self._woken.set()

    def slot_freed(self, *, always: bool = False) -> None:
        """A slot is free, which matters to a worker that lacked one; *always*: to any."""
        if always or self._for_slot:
            self._woken.set()

    async def rest(
        self, watched: Sequence[tuple[str, ...]], *, has_slots: bool, lacks_slots: bool, most_s: float
    ) -> None:
        """Sleep at most *most_s*, till there may be work for free slots, or more slots where they are lacking.

        A worker with free slots arms its keys first and, where that is new, returns at once: what came between its last
        look and the arming would be missed otherwise.
        """
        self._for_work, self._for_slot = has_slots, lacks_slots
        if has_slots and not self._armed and await self._arm(watched):
            return
        timer = asyncio.get_running_loop().call_later(most_s, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _arm(self, watched: Sequence[tuple[str, ...]]) -> bool:
        """Watch the keys; False when that cannot be had at present, and polling has to do."""
        if self.waker is None:
            return False
        self._armed = True  # before the reads: a change that comes while they are under way disarms again
        can_watch = await self.waker.arm(watched) is not None
        self._armed = self._armed and can_watch
        return can_watch


class Aborts:
    """Cancels the jobs among *held* whose abort was asked for, within milliseconds.

    Tidies, too, what was asked and counted of jobs long gone. *batcher* gives the one in use.
    """

    def __init__(self, held: Mapping[str, Lease], idle: Idle, batcher: Callable[[], Batcher]) -> None:
        self._held = held
        self._idle = idle
        self._batcher = batcher
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
                    await self._batcher().call(_TIDY, [keys.ARQ_ABORT, keys.DEATHS], [_AGED_MS])
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("aborts cannot be read: %s", error, extra=about("aborts_unread"))
            timer = loop.call_later(_POLL_S, self._changed.set)
            await self._changed.wait()
            timer.cancel()

    async def apply(self) -> None:
        """Cancel the running jobs that are in the set, and take them out of it."""
        waker = self._idle.waker
        armed = await waker.arm([_READ_ABORTS]) if waker is not None else None
        asked = armed[0] if armed is not None else await self._batcher().execute(*_READ_ABORTS)
        if not asked:
            return
        running = {lease.raw_id: lease for lease in self._held.values() if not lease.concluded}
        aborted = [job_id for job_id in asked if job_id in running]
        for job_id in aborted:
            running[job_id].cancel("abort")
        if aborted:
            await self._batcher().execute("ZREM", keys.ARQ_ABORT, *aborted)


@contextlib.asynccontextmanager
async def _connected(redis: Redis) -> AsyncIterator[AbstractConnection]:
    connection = own_connection(redis)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await connection.connect()  # type: ignore[no-untyped-call]
        yield connection
    finally:
        await connection.disconnect(nowait=True)
