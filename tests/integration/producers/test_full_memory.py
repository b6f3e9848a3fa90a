"""A Redis that fills up: jobs are refused before it is full, and what was accepted is worked off."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from penstock import EnqueueManyError, Producer, QueueFullError, Summarize
from penstock_schemas import keys
from penstock_schemas.limits import Limits
from penstock_store.server import RedisServer
from tests.support.jobs import hand_worker
from tests.support.servers import server_binary
from tests.support.wait import until

MIB = 2**20
MOST = 24 * MIB


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of a few MiB."""
    with RedisServer(binary=server_binary(), maxmemory=MOST) as server:
        yield server


async def flood(producer: Producer, accepted: list[str]) -> QueueFullError:
    """Enqueue until it is refused."""
    text = "A word and another. " * 100
    while True:
        try:
            jobs = await producer.enqueue_many([Summarize(text=text)] * 200)
        except EnqueueManyError as error:
            accepted += [job.id for job in error.jobs if job is not None]
            kinds = {type(one) for one in error.errors.values()}
            assert kinds == {QueueFullError}
            return next(one for one in error.errors.values() if isinstance(one, QueueFullError))
        accepted += [job.id for job in jobs]


async def used(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


async def test_a_flood_is_refused_before_the_server_is_full_and_all_of_it_is_worked_off(small: RedisServer) -> None:
    """The refusal says when to come again; memory stays bounded; every accepted job ends; then there is room."""
    accepted: list[str] = []
    async with (
        Redis.from_url(small.url) as redis,
        Producer.connect(small.url) as producer,
        hand_worker(small.url) as worker,
    ):
        refusal = await flood(producer, accepted)
        assert "memory" in str(refusal) and refusal.retriable and refusal.retry_after_s
        assert await used(redis) < MOST
        assert await redis.zcard(keys.queue("standard", "default")) == len(accepted) > 1000
        assert await worker.work_off() == len(accepted)
        states = [await redis.hget(keys.record(job_id), "state") for job_id in accepted]  # type: ignore[misc]
        assert set(states) == {b"succeeded"}
        for job_id in accepted:
            await redis.delete(keys.request(job_id), keys.events(job_id), keys.journal(job_id), keys.record(job_id))
        await until(lambda: _accepts(producer))


async def _accepts(producer: Producer) -> bool:
    with suppress(QueueFullError):
        await producer.enqueue(Summarize(text="There is room."))
        return True
    return False


async def test_beyond_maxmemory_it_is_a_full_queue_too_and_known_keys_are_answered(small: RedisServer) -> None:
    """Whatever filled the server: nothing is half-written, and a repeat with a key finds its job."""
    async with (
        Redis.from_url(small.url) as redis,
        Producer.connect(small.url, limits=Limits(memory_ratio=1.0)) as producer,
        hand_worker(small.url) as worker,
    ):
        known = await producer.enqueue(Summarize(text="Before."), idempotency_key="k")
        await redis.config_set("maxmemory", MIB)  # less than it uses, as if something else had filled it
        before = {key async for key in redis.scan_iter()}
        with pytest.raises(QueueFullError):
            await producer.enqueue(Summarize(text="After."))
        with pytest.raises(EnqueueManyError) as many:
            await producer.enqueue_many([Summarize(text="After.")] * 3)
        assert {type(error) for error in many.value.errors.values()} == {QueueFullError}
        assert {key async for key in redis.scan_iter()} == before
        assert (await producer.enqueue(Summarize(text="Before."), idempotency_key="k")).id == known.id
        assert await worker.work_off() == 1
        assert (await known.status()).state == "succeeded"


async def test_without_a_maxmemory_there_is_no_such_bound(redis: Redis, redis_url: str) -> None:
    async with Producer.connect(redis_url, limits=Limits(memory_ratio=0.001)) as producer:
        assert (await producer.enqueue(Summarize(text="Words."))).created
    assert await redis.hget(keys.COUNTS, "memory") == b"0"  # type: ignore[misc]


async def test_a_user_that_may_not_ask_for_the_memory_enqueues(redis: Redis, redis_url: str) -> None:
    """The bound is then Redis' own."""
    await redis.acl_setuser(
        "plain", enabled=True, passwords=["+word"], keys=["*"], channels=["*"], commands=["+@all", "-info"]
    )
    try:
        async with Producer.connect(redis_url.replace("://", "://plain:word@")) as producer:
            assert (await producer.enqueue(Summarize(text="Words."))).created
    finally:
        await redis.acl_deluser("plain")
