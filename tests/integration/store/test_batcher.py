"""The batcher: many callers share round trips, and each gets its own answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from penstock_store import batcher as module
from penstock_store.batcher import Batcher
from penstock_store.connection import connect
from penstock_store.scripts import Script
from penstock_store.server import RedisServer
from tests.support.proxy import TcpProxy

ECHO = Script("return {KEYS[1], ARGV[1]}")
FAIL = Script("return redis.error_reply('NO ' .. ARGV[1])")


@pytest.fixture
async def batcher(redis_url: str) -> AsyncIterator[Batcher]:
    """On a connection of its own."""
    client = connect(redis_url, max_connections=1)
    yield Batcher(client)
    await client.aclose()


async def test_calls_that_fall_together_share_a_round_trip(batcher: Batcher) -> None:
    """A thousand commands, each with its own reply."""
    replies = await asyncio.gather(*(batcher.execute("ECHO", str(n)) for n in range(1_000)))
    assert replies == [str(n).encode() for n in range(1_000)]
    assert batcher.round_trips <= 3
    assert batcher.calls == 1_000


async def test_an_error_is_its_callers_alone(batcher: Batcher) -> None:
    """The neighbours in the batch are answered."""
    good, bad, worse = await asyncio.gather(
        batcher.call(ECHO, ["k"], ["a"]),
        batcher.call(FAIL, ["k"], ["b"]),
        batcher.execute("NOPE"),
        return_exceptions=True,
    )
    assert good == [b"k", b"a"]
    assert isinstance(bad, ResponseError)
    assert str(bad) == "NO b"
    assert isinstance(worse, ResponseError)


async def test_a_script_that_redis_does_not_know_is_sent_once_with_its_text(batcher: Batcher, redis: Redis) -> None:
    """Not once for each of the calls that wait for it; and again whenever Redis has forgotten it."""
    for _ in range(2):
        await redis.script_flush()
        await redis.config_resetstat()
        replies = await asyncio.gather(*(batcher.call(ECHO, ["k"], [n]) for n in range(100)))
        assert replies == [[b"k", str(n).encode()] for n in range(100)]
        stats = await redis.info("commandstats")
        assert stats["cmdstat_eval"]["calls"] == 1


async def test_the_bytes_of_a_batch_are_bounded(batcher: Batcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is larger alone goes alone."""
    monkeypatch.setattr(module, "MAX_BATCH_BYTES", 1_000)
    texts = ["a" * 400] * 5 + ["b" * 5_000] + ["c"] * 3
    replies = await asyncio.gather(*(batcher.execute("ECHO", text) for text in texts))
    assert replies == [text.encode() for text in texts]
    assert batcher.round_trips == 5


async def test_a_call_that_is_given_up_leaves_the_others_their_replies(batcher: Batcher) -> None:
    """Replies stay in step with their calls."""
    calls = [batcher.execute("ECHO", str(n)) for n in range(10)]
    calls[4].cancel()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert [reply for i, reply in enumerate(replies) if i != 4] == [str(n).encode() for n in range(10) if n != 4]
    assert await batcher.execute("ECHO", "after") == b"after"


async def test_silence_fails_those_who_wait_to_be_sent_as_well(redis_url: str) -> None:
    """They would wait for one time limit after the other."""
    with TcpProxy.to(redis_url) as proxy:
        client = connect(proxy.url, max_connections=1, timeout_s=0.2)
        batcher = Batcher(client, max_batch=10)
        await batcher.execute("PING")
        proxy.freeze()
        async with asyncio.timeout(10):
            replies = await asyncio.gather(*(batcher.execute("PING") for _ in range(100)), return_exceptions=True)
        assert all(isinstance(reply, RedisTimeoutError) for reply in replies)
        assert batcher.round_trips == 2
        proxy.cut()
        proxy.pass_through()
        assert await batcher.execute("PING") == b"PONG"
        await client.aclose()


async def test_a_broken_connection_is_made_anew(own_redis_server: RedisServer) -> None:
    """Across a restart of the server, with nobody asked to do anything about it."""
    client = connect(own_redis_server.url, max_connections=1)
    batcher = Batcher(client)
    await batcher.execute("PING")
    own_redis_server.kill()
    with pytest.raises((RedisError, OSError)):
        await batcher.execute("PING")
    own_redis_server.restart()
    assert await batcher.execute("ECHO", "y") == b"y"
    await client.aclose()
