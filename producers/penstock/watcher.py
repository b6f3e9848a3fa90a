"""Waiting without polling: one subscription connection tells any number of waiters when to look.

1. A waiter asks to watch a job; its channel is subscribed to, and Redis' confirmation is its first wake-up. Where
   the channel is subscribed to already, it is woken at once: there will be no confirmation.
2. Each event of the job is published after it is in the job's stream; each message is a wake-up.
3. When the connection was lost, it is made anew and every channel is subscribed to again; those confirmations
   wake every waiter, so that what was missed is read.
4. A connection that is silent is pinged. One that does not answer is taken for lost, as nothing else would tell.
5. A wake-up carries nothing: the waiter reads the record or the stream, which are the truth. Should a message
   be lost all the same, each waiter looks once every ``SAFETY_S``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from penstock_store.connection import TIMEOUT_S

SAFETY_S = 15.0
PING_S = 5.0
_RECONNECT_S = (0.05, 2.0)


class Watcher:
    """Wakes those who wait for a change of a channel's job. Uses one connection of *redis* once anyone has waited."""

    def __init__(self, redis: Redis) -> None:
        self._pool = redis.connection_pool
        self._waiters: dict[str, dict[asyncio.Event, Set[bytes] | None]] = {}
        self._subscribed: set[str] = set()
        self._touched: set[str] = set()
        """Channels whose subscription may not be what the waiters need."""
        self._work = asyncio.Event()
        self._silent = False
        self._runner: asyncio.Task[None] | None = None
        self._pause_s = _RECONNECT_S[0]

    @asynccontextmanager
    async def watch(self, channel: str, messages: Set[bytes] | None = None) -> AsyncIterator[asyncio.Event]:
        """An event that is set once the channel is subscribed to, anew too, and on every message of it.

        *messages*: only these; None: all.
        """
        wake = asyncio.Event()
        self._waiters.setdefault(channel, {})[wake] = messages
        if channel in self._subscribed:
            wake.set()
        else:
            self._touch(channel)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="penstock-watcher")
        try:
            yield wake
        finally:
            waiters = self._waiters[channel]
            del waiters[wake]
            if not waiters:
                del self._waiters[channel]
                self._touch(channel)

    def listening(self, channel: str) -> bool:
        """Whether the channel is, or is just being, subscribed to."""
        return channel in self._subscribed

    def channels(self) -> set[str]:
        """The channels that someone waits on."""
        return set(self._waiters)

    async def aclose(self) -> None:
        """Stop listening and wake whoever still waits."""
        if self._runner is not None:
            self._runner.cancel()
            with suppress(asyncio.CancelledError):
                await self._runner
            self._runner = None
        for channel in list(self._waiters):
            self._wake(channel, None)

    def _touch(self, channel: str) -> None:
        self._touched.add(channel)
        self._work.set()

    def _wake(self, channel: str, message: bytes | None) -> None:
        """Wake the channel's waiters for *message*; None wakes all."""
        for wake, wanted in self._waiters.get(channel, {}).items():
            if wanted is None or message is None or message in wanted:
                wake.set()

    async def _run(self) -> None:
        while True:
            with suppress(RedisError, OSError):
                async with asyncio.timeout(2 * TIMEOUT_S):
                    connection = await self._pool.get_connection()
                try:
                    await self._serve(connection)
                finally:
                    await connection.disconnect(nowait=True)
                    await self._pool.release(connection)
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, _RECONNECT_S[1])

    async def _serve(self, connection: AbstractConnection) -> None:
        """Keep the subscriptions what the waiters need, and pass messages on, until the connection is lost."""
        self._subscribed.clear()
        self._touched = set(self._waiters)
        self._silent = False
        reading = asyncio.create_task(self._read(connection), name="penstock-watcher-reader")
        reading.add_done_callback(lambda _: self._work.set())
        try:
            while not reading.done():
                self._work.clear()
                await self._subscribe(connection)
                await self._wait_for_work(connection)
        finally:
            self._subscribed.clear()
            reading.cancel()
            await asyncio.wait([reading])
            lost = None if reading.cancelled() else reading.exception()
        if lost is not None:
            raise lost

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            message = await connection.read_response()
            self._silent = False
            self._pause_s = _RECONNECT_S[0]
            match message:
                case [b"message", bytes() as channel, bytes() as text]:
                    self._wake(channel.decode(), text)
                case [b"subscribe", bytes() as channel, _]:
                    self._wake(channel.decode(), None)

    async def _subscribe(self, connection: AbstractConnection) -> None:
        touched, self._touched = self._touched, set()
        fresh = [channel for channel in touched if channel in self._waiters and channel not in self._subscribed]
        stale = [channel for channel in touched if channel not in self._waiters and channel in self._subscribed]
        self._subscribed.update(fresh)
        self._subscribed.difference_update(stale)
        for verb, channels in (("UNSUBSCRIBE", stale), ("SUBSCRIBE", fresh)):
            if channels:
                await connection.send_command(verb, *channels, check_health=False)

    async def _wait_for_work(self, connection: AbstractConnection) -> None:
        try:
            async with asyncio.timeout(PING_S):
                await self._work.wait()
        except TimeoutError:
            if self._silent:
                raise RedisConnectionError("the subscription's connection is silent") from None
            self._silent = True
            await connection.send_command("PING", check_health=False)
