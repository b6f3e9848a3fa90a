"""How much a tenant or a user may enqueue, and what the refusal says."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from penstock import EnqueueManyError, Producer, Summarize
from penstock_schemas import keys
from penstock_schemas.errors import InvalidRequestError, PayloadTooLargeError, RateLimitedError
from penstock_schemas.quotas import Quota
from penstock_store.batcher import Batcher
from penstock_worker.money.quotas import Quotas

ASKED = Summarize(text="The mill stands by the river.")


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    async with Producer.connect(redis_url, tenant="acme") as producer:
        yield producer


async def tell(redis: Redis, **quotas: Quota) -> None:
    """Quotas by ``tenant__acme`` for ``tenant:acme``, told as a worker tells those of its configuration."""
    scopes = {name.replace("__", ":").replace("_slash_", "/").replace("all", "*"): q for name, q in quotas.items()}
    await Quotas(scopes).tell(Batcher(redis))


async def test_beyond_its_jobs_a_minute_a_tenant_is_told_how_long_to_wait(producer: Producer, redis: Redis) -> None:
    """Three at once; the fourth a third of a minute later. What was refused has written nothing."""
    await tell(redis, tenant__acme=Quota(requests_per_min=3))
    for _ in range(3):
        await producer.enqueue(ASKED)
    with pytest.raises(RateLimitedError) as refused:
        await producer.enqueue(ASKED, idempotency_key="k")
    assert refused.value.retriable and refused.value.code == "rate_limited"
    assert refused.value.retry_after_s is not None and 15 < refused.value.retry_after_s <= 20
    assert "tenant:acme" in refused.value.message and "3 jobs a minute" in refused.value.message
    assert int(await redis.hget(keys.COUNTS, "open") or 0) == 3
    assert [name async for name in redis.scan_iter("penstock:idem:*")] == []


async def test_room_comes_back_as_time_passes(producer: Producer, redis: Redis) -> None:
    """Told with the time at which all would be paid off: a minute earlier, there is room for as much again."""
    await tell(redis, tenant__acme=Quota(requests_per_min=2))
    await producer.enqueue(ASKED)
    await producer.enqueue(ASKED)
    taken = keys.quota("tenant:acme")
    assert 0 < await redis.pttl(taken) <= 120_000
    await redis.hincrbyfloat(taken, "requests_per_min", -60_000)
    await producer.enqueue(ASKED)


async def test_a_known_key_takes_nothing_of_a_quota(producer: Producer, redis: Redis) -> None:
    """It is the job that is there already."""
    await tell(redis, tenant__acme=Quota(requests_per_min=1))
    first = await producer.enqueue(ASKED, idempotency_key="k")
    again = await producer.enqueue(ASKED, idempotency_key="k")
    assert (again.id, again.created) == (first.id, False)


async def test_tokens_are_counted_by_bytes_and_cap(producer: Producer, redis: Redis) -> None:
    """A request of more tokens than there are in a minute never has room, and the error does not say to wait."""
    await tell(redis, tenant__acme=Quota(tokens_per_min=2_000))
    await producer.enqueue(ASKED, max_output_tokens=1_000)
    with pytest.raises(RateLimitedError) as later:
        await producer.enqueue(ASKED, max_output_tokens=1_000)
    with pytest.raises(RateLimitedError) as never:
        await producer.enqueue(Summarize(text="long " * 2_000))
    assert later.value.retry_after_s and never.value.retry_after_s is None
    assert "2000 tokens a minute" in later.value.message and "alone is more" in never.value.message


async def test_each_user_has_a_quota_of_its_own(producer: Producer, redis: Redis) -> None:
    """One that holds for all users is counted for each apart; jobs of nobody's are not counted."""
    await tell(redis, user__all=Quota(requests_per_min=1))
    await producer.enqueue(ASKED, user="ann")
    await producer.enqueue(ASKED, user="bob")
    with pytest.raises(RateLimitedError, match="user:acme/ann"):
        await producer.enqueue(ASKED, user="ann")
    await producer.enqueue(ASKED)
    await producer.enqueue(ASKED)


async def test_a_tenant_without_its_own_has_that_of_all(redis_url: str, redis: Redis) -> None:
    """And one with its own has that alone."""
    await tell(redis, tenant__all=Quota(requests_per_min=1), tenant__large=Quota(requests_per_min=100))
    async with (
        Producer.connect(redis_url, tenant="small") as small,
        Producer.connect(redis_url, tenant="large") as large,
    ):
        await small.enqueue(ASKED)
        with pytest.raises(RateLimitedError, match="tenant:small"):
            await small.enqueue(ASKED)
        await asyncio.gather(*(large.enqueue(ASKED) for _ in range(5)))


async def test_caps_name_the_field(producer: Producer, redis: Redis) -> None:
    """A larger request, or a larger answer, than the quota allows is refused for good."""
    await tell(redis, tenant__acme=Quota(request_bytes=1_000, max_output_tokens=500))
    with pytest.raises(PayloadTooLargeError, match="at most 1000 bytes"):
        await producer.enqueue(Summarize(text="x" * 1_000))
    with pytest.raises(InvalidRequestError, match="at most 500") as refused:
        await producer.enqueue(ASKED, max_output_tokens=501)
    assert refused.value.field == "max_output_tokens"
    await producer.enqueue(ASKED, max_output_tokens=500)


async def test_of_many_those_beyond_the_quota_are_reported_each(producer: Producer, redis: Redis) -> None:
    """Two are accepted, three are refused with how long to wait."""
    await tell(redis, tenant__acme=Quota(requests_per_min=2))
    with pytest.raises(EnqueueManyError) as refused:
        await producer.enqueue_many([ASKED] * 5)
    assert [type(error) for error in refused.value.errors.values()] == [RateLimitedError] * 3
    assert sum(job is not None for job in refused.value.jobs) == 2


async def test_what_a_worker_tells_takes_the_place_of_what_was_told(producer: Producer, redis: Redis) -> None:
    """A quota that the configuration has no more binds nobody."""
    await tell(redis, tenant__acme=Quota(requests_per_min=1))
    await tell(redis, tenant__other=Quota(requests_per_min=1))
    await producer.enqueue(ASKED)
    await producer.enqueue(ASKED)


async def test_ten_thousand_at_once_are_held_to_the_rate(producer: Producer, redis: Redis) -> None:
    """Whoever floods is told to wait, and no more than the minute's worth is accepted."""
    await tell(redis, tenant__acme=Quota(requests_per_min=100))
    with pytest.raises(EnqueueManyError) as refused:
        await producer.enqueue_many([ASKED] * 10_000)
    accepted = sum(job is not None for job in refused.value.jobs)
    assert 100 <= accepted <= 110
    assert {type(error) for error in refused.value.errors.values()} == {RateLimitedError}
