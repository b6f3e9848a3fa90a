"""When Redis is away a call fails within two seconds, half-writes nothing, and works again afterwards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import (
    ConfigurationError,
    EnqueueManyError,
    JobState,
    PenstockError,
    Producer,
    QueueFullError,
    Summarize,
    UnavailableError,
)
from penstock_schemas import keys
from penstock_store.server import RedisServer
from tests.support.jobs import dump
from tests.support.proxy import TcpProxy
from tests.support.wait import until

BOUND_S = 2.0
SLACK_S = 2.0
"""For a machine that is busy with other tests: a hang would be far longer."""


@pytest.fixture
def proxy(redis_url: str) -> Iterator[TcpProxy]:
    """The way to the tests' server, to be broken."""
    with TcpProxy.to(redis_url) as opened:
        yield opened


@pytest.fixture
async def far(proxy: TcpProxy) -> AsyncIterator[Producer]:
    """A producer behind the proxy, connected."""
    async with Producer.connect(proxy.url) as opened:
        await opened.enqueue(Summarize(text="Here from before."), idempotency_key="before")
        yield opened


Break = Callable[[RedisServer], None]

ASKS: dict[str, Callable[[Producer], Awaitable[Any]]] = {
    "enqueue": lambda producer: producer.enqueue(Summarize(text="A"), idempotency_key="k"),
    "status": lambda producer: producer.status("0" * 32),
    "cancel": lambda producer: producer.cancel("0" * 32),
    "result": lambda producer: producer.job("0" * 32).result(),
}


async def assert_unavailable(asking: Awaitable[Any]) -> None:
    """It is refused as retriable, within the bound."""
    with pytest.raises(UnavailableError) as refusal:
        async with asyncio.timeout(BOUND_S + SLACK_S):
            await asking
    assert refusal.value.retriable


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_a_killed_server(own_redis_server: RedisServer, ask: Callable[[Producer], Awaitable[Any]]) -> None:
    """Refused at once; accepted by the same producer when the server is back."""
    async with Producer.connect(own_redis_server.url) as producer:
        await producer.enqueue(Summarize(text="Here from before."))
        own_redis_server.kill()
        await assert_unavailable(ask(producer))
        await assert_unavailable(ask(producer))
        own_redis_server.restart()
        assert (await producer.enqueue(Summarize(text="A"), idempotency_key="k")).created


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_a_paused_server(own_redis_server: RedisServer, ask: Callable[[Producer], Awaitable[Any]]) -> None:
    """Silence is noticed in time, for one caller as for a hundred."""
    async with Producer.connect(own_redis_server.url) as producer:
        await producer.enqueue(Summarize(text="Here from before."))
        own_redis_server.pause()
        await asyncio.gather(*(assert_unavailable(ask(producer)) for _ in range(100)))
        await assert_unavailable(ask(producer))
        own_redis_server.resume()
        job = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
        assert (await job.status()).state is JobState.QUEUED


async def test_a_black_hole(proxy: TcpProxy, far: Producer, redis: Redis) -> None:
    """Nothing arrives and nothing is said; then nothing is written either."""
    before = await dump(redis)
    proxy.freeze()
    await assert_unavailable(far.enqueue(Summarize(text="A"), idempotency_key="k"))
    await assert_unavailable(far.enqueue(Summarize(text="A"), idempotency_key="k"))
    proxy.cut()
    proxy.pass_through()
    assert await dump(redis) == before
    assert (await far.enqueue(Summarize(text="A"), idempotency_key="k")).created


async def test_nobody_listens() -> None:
    """A producer may be made before there is a server."""
    async with Producer.connect("redis://127.0.0.1:1") as producer:
        await assert_unavailable(producer.enqueue(Summarize(text="A")))


async def test_thousands_are_refused_as_fast_as_one(proxy: TcpProxy, far: Producer, redis: Redis) -> None:
    """A bulk enqueue into a silence tells for each item that it was not accepted, within one bound."""
    before = await dump(redis)
    proxy.freeze()
    with pytest.raises(EnqueueManyError) as refusal:
        async with asyncio.timeout(10 * BOUND_S):  # one after the other they would take hours
            await far.enqueue_many([Summarize(text=str(n)) for n in range(5_000)])
    assert refusal.value.jobs == [None] * 5_000
    assert {type(error) for error in refusal.value.errors.values()} == {UnavailableError}
    await far.aclose()  # whoever would still knock
    proxy.refuse()
    await until(lambda: proxy.connections == 0)
    proxy.pass_through()
    assert await dump(redis) == before


async def test_a_lost_reply_is_asked_for_again_without_a_second_job(
    proxy: TcpProxy, far: Producer, redis: Redis
) -> None:
    """Redis accepted, the answer was lost: the caller still gets its one job, with a key and without."""
    for key in (None, "k"):
        proxy.drop_next_reply(containing=b"EVALSHA")
        job = await far.enqueue(Summarize(text="A"), idempotency_key=key)
        proxy.wait_dropped()
        assert job.created
        assert (await job.status()).state is JobState.QUEUED
    assert int(await redis.hget(keys.COUNTS, "open")) == 3  # type: ignore[misc]


async def test_a_lost_reply_of_a_bulk_enqueue_makes_no_second_jobs(
    proxy: TcpProxy, far: Producer, redis: Redis
) -> None:
    """All ids, each once."""
    proxy.drop_next_reply(containing=b"EVALSHA")
    jobs = await far.enqueue_many([Summarize(text=str(n)) for n in range(300)])
    proxy.wait_dropped()
    assert len({job.id for job in jobs}) == 300
    assert int(await redis.hget(keys.COUNTS, "open")) == 301  # type: ignore[misc]


async def test_a_repeat_by_key_after_an_unknown_outcome_gives_the_same_job(
    proxy: TcpProxy, far: Producer, redis: Redis
) -> None:
    """The reply is lost and the line is dead for longer than the bound: the key finds what was accepted."""
    proxy.drop_next_reply(containing=b"EVALSHA")
    lost = asyncio.create_task(far.enqueue(Summarize(text="A"), idempotency_key="k"))
    await asyncio.to_thread(proxy.wait_dropped)
    proxy.refuse()
    try:
        accepted = (await lost).id  # the repeat was faster than the line's end
    except UnavailableError:
        accepted = None
    proxy.pass_through()
    job = await far.enqueue(Summarize(text="A"), idempotency_key="k")
    assert not job.created
    assert accepted in (None, job.id)
    assert int(await redis.hget(keys.COUNTS, "open")) == 2  # type: ignore[misc]


async def test_a_server_that_forgot_the_scripts_is_not_noticed(far: Producer, redis: Redis) -> None:
    """After SCRIPT FLUSH the text is sent again."""
    await redis.script_flush()
    assert (await far.enqueue(Summarize(text="A"))).created


@pytest.mark.parametrize(
    ("setting", "value", "refusal"),
    [("maxmemory", "1", QueueFullError), ("min-replicas-to-write", "1", UnavailableError)],
    ids=["full", "no replica"],
)
async def test_a_server_that_takes_no_writes(
    own_redis_server: RedisServer, setting: str, value: str, refusal: type[PenstockError]
) -> None:
    """Refused as retriable, with nothing written; what is there can be read."""
    assert refusal.retriable
    async with Producer.connect(own_redis_server.url) as producer, Redis.from_url(own_redis_server.url) as redis:
        job = await producer.enqueue(Summarize(text="Here from before."))
        before = await dump(redis)
        await redis.config_set(setting, value)
        with pytest.raises(refusal):
            await producer.enqueue(Summarize(text="A"), idempotency_key="k")
        with pytest.raises(EnqueueManyError):
            await producer.enqueue_many([Summarize(text="A"), Summarize(text="B")])
        assert (await job.status()).state is JobState.QUEUED
        assert await dump(redis) == before
        await redis.config_set(setting, "0")
        assert (await producer.enqueue(Summarize(text="A"), idempotency_key="k")).created


async def test_a_replica_takes_no_writes(own_redis_server: RedisServer) -> None:
    """As after a failover, when the old primary is still asked."""
    async with Producer.connect(own_redis_server.url) as producer, Redis.from_url(own_redis_server.url) as redis:
        await producer.enqueue(Summarize(text="Here from before."))
        before = await dump(redis)
        await redis.replicaof("127.0.0.1", "1")
        await assert_unavailable(producer.enqueue(Summarize(text="A")))
        assert await dump(redis) == before
        await redis.replicaof("NO", "ONE")
        assert (await producer.enqueue(Summarize(text="A"))).created


async def test_a_user_that_is_denied_is_told_so(own_redis_server: RedisServer) -> None:
    """A wrong password, or commands that the user may not run: nothing that a repeat would mend."""
    async with Redis.from_url(own_redis_server.url) as redis:
        await redis.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+@connection")
    host = own_redis_server.url.removeprefix("redis://")
    for user in ("reader:wrong", "reader:secret"):
        async with Producer.connect(f"redis://{user}@{host}") as producer:
            with pytest.raises(ConfigurationError) as refusal:
                await producer.enqueue(Summarize(text="A"))
            assert "secret" not in str(refusal.value)
            assert not refusal.value.retriable


async def test_a_closed_producer_says_so(redis_url: str) -> None:
    """Whoever waits on it is woken; closing again does nothing."""
    async with Producer.connect(redis_url) as producer:
        job = await producer.enqueue(Summarize(text="A"))
        waiting = asyncio.create_task(job.result())
        await until(lambda: producer.watcher.listening(keys.events(job.id)), what="the waiter listens")
    for asking in (waiting, producer.enqueue(Summarize(text="A")), producer.enqueue_many([Summarize(text="A")])):
        with pytest.raises(RuntimeError, match="closed"):
            await asking
    await producer.aclose()
