"""Waiting without polling: one subscription connection tells any number of waiters when to look.

1. A waiter asks to watch a job; its channel is subscribed to, and Redis' confirmation is its first wake-up.
2. Each event of the job is published after it is in the job's stream; each message is a wake-up.
3. When the connection was lost, it is made anew and every channel is subscribed to again; those confirmations
   wake every waiter, so that what was missed is read.
4. A wake-up carries nothing: the waiter reads the record or the stream, which are the truth. Should a message
   be lost all the same, each waiter looks once every ``SAFETY_S``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

SAFETY_S = 15.0
_RECONNECT_S = (0.05, 2.0)


class Watcher:
    """Wakes those who wait for a change of a channel's job. Uses one connection of *redis* while anyone waits."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._pause_s = _RECONNECT_S[0]

    @asynccontextmanager
    async def watch(self, channel: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set on every message of *channel* and on every (new) subscription to it."""
        wake = asyncio.Event()
        self._waiters[channel].add(wake)
        self._changed.set()
        if self._reader is None:
            self._reader = asyncio.create_task(self._run(), name="penstock-watcher")
        try:
            yield wake
        finally:
            self._waiters[channel].discard(wake)
            if not self._waiters[channel]:
                del self._waiters[channel]
                self._changed.set()

    async def aclose(self) -> None:
        """Stop listening. Whoever still waits is not woken any more."""
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None

    async def _run(self) -> None:
        while True:
            pubsub = self._redis.pubsub()
            try:
                await self._listen(pubsub)
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(self._pause_s * 2, _RECONNECT_S[1])
            finally:
                with suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _listen(self, pubsub: PubSub) -> None:
        """Keep the subscriptions what the waiters need, and pass each message on, until the connection is lost."""
        subscribed: set[str] = set()
        reading: asyncio.Task[object] | None = None
        try:
            while True:
                self._changed.clear()
                await self._subscribe(pubsub, subscribed)
                if not subscribed:
                    await self._changed.wait()
                    continue
                reading = reading or asyncio.create_task(pubsub.parse_response(block=True))
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait({reading, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if reading.done():
                    self._pass_on(reading.result())
                    reading = None
        finally:
            if reading is not None:
                reading.cancel()

    async def _subscribe(self, pubsub: PubSub, subscribed: set[str]) -> None:
        wanted = set(self._waiters)
        if fresh := wanted - subscribed:
            await pubsub.subscribe(*fresh)
        if stale := subscribed - wanted:
            await pubsub.unsubscribe(*stale)
        subscribed |= wanted
        subscribed &= wanted

    def _pass_on(self, message: object) -> None:
        self._pause_s = _RECONNECT_S[0]
        match message:
            case [b"subscribe" | b"message", bytes() as channel, _]:
                for wake in self._waiters.get(channel.decode(), ()):
                    wake.set()
            case _:
                pass
