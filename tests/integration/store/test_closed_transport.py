"""A connection that is closed under uvloop, in the moment in which something is sent."""

import asyncio

import pytest
import uvloop
from redis.asyncio import BlockingConnectionPool, Connection, Redis

from penstock_store.batcher import Batcher
from penstock_store.connection import connect, is_away, mend


class Torn(Connection):
    """A connection whose transport goes away just before it sends, once it is told to."""

    tear = False

    async def send_packed_command(self, command: object, check_health: bool = True) -> None:
        if Torn.tear:
            Torn.tear = False
            self._writer.transport.abort()  # type: ignore[union-attr]
            for _ in range(3):  # turns of the loop, until the handle is closed
                await asyncio.sleep(0)
        await super().send_packed_command(command, check_health)  # type: ignore[arg-type]


def test_a_transport_that_uvloop_has_closed_is_a_lost_connection(redis_url: str) -> None:
    """uvloop answers with a RuntimeError; to whoever waits it is a Redis that is away, and the next call goes on."""

    async def go() -> None:
        pool = BlockingConnectionPool.from_url(redis_url, connection_class=Torn)
        async with Redis.from_pool(pool) as client:
            batcher = Batcher(client)
            assert await batcher.execute("ECHO", "a") == b"a"
            Torn.tear = True
            with pytest.raises(Exception) as lost:  # noqa: PT011  (its kind is what is asked for)
                await batcher.execute("ECHO", "b")
            assert is_away(lost.value)
            assert await batcher.execute("ECHO", "c") == b"c"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(go())


def test_so_it_is_while_a_connection_is_made(redis_url: str) -> None:
    """Torn in the handshake, before the batcher has it."""

    async def go() -> None:
        client = connect(redis_url, max_connections=1)
        client.connection_pool.connection_class = Torn
        mend(client.connection_pool)
        async with client:
            batcher = Batcher(client)
            Torn.tear = True
            with pytest.raises(Exception) as lost:  # noqa: PT011  (its kind is what is asked for)
                await batcher.execute("ECHO", "a")
            assert is_away(lost.value)
            assert await batcher.execute("ECHO", "b") == b"b"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(go())
