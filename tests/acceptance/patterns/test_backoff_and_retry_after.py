"""Backoff and Retry-After: a 429 with 30 s holds no slot, and no call is made before from any worker."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from penstock import Classify, JobHandle, Producer
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.wait import until
from tests.support.workers import worker_settings, working

HELD, OTHER = "gpt-4o-mini", "gpt-4o"
WAIT_MS = 30_000


def asks(count: int, start: int = 0) -> list[Classify]:
    return [Classify(text=f"mail {number}", labels=["billing", "bug"]) for number in range(start, start + count)]


def settings_of(redis_url: str, simulator: Simulator) -> Settings:
    """Two slots; the tenant ``b`` has a model of its own."""
    when = {f"openai/{HELD}": {"tenants": ["acme"]}, f"openai/{OTHER}": {"tenants": ["b"]}}
    targets = (f"openai/{HELD}", f"openai/{OTHER}")
    return worker_settings(redis_url, simulator.base_url, targets=targets, route={"when": when}, concurrency=2)


async def due_in_ms(redis: Redis, job: JobHandle[Any]) -> float:
    """When a job may run, from when the provider was told of; Redis' own clock."""
    seconds, micros = await redis.time()
    score = await redis.zscore(keys.queue("standard", "acme"), job.id)
    return float(score or 0) - seconds * 1000 - micros / 1000


async def test_a_throttle_of_thirty_seconds_holds_no_slot_and_is_kept_by_all(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator
) -> None:
    """Three workers, six slots, twenty jobs: those under way are told, the rest wait without a call."""
    simulator.script([{"match": {"model": HELD}, "fault": "429 retry-after=30"}])
    settings = settings_of(redis_url, simulator)
    async with working(settings), working(settings), working(settings), Producer.connect(redis_url, tenant="b") as b:
        jobs = await producer.enqueue_many(asks(20))

        async def all_wait() -> bool:
            return {(await job.status()).state for job in jobs} == {"scheduled"}

        await until(all_wait, timeout_s=20)
        told = [call for call in simulator.calls() if call.model == HELD]
        assert 1 <= len(told) <= 6

        late = await producer.enqueue_many(asks(10, start=100))
        free = await b.enqueue_many(asks(10, start=200))
        results = await asyncio.gather(*(job.result(timeout_s=20) for job in free))
        assert {result.made_by.name for result in results} == {f"openai/{OTHER}"}  # all slots are free for others

        jobs = [*jobs, *late]
        await until(all_wait, timeout_s=20)
        assert len([call for call in simulator.calls() if call.model == HELD]) == len(told)
        waits = [await due_in_ms(redis, job) for job in jobs]
        assert min(waits) > WAIT_MS - 20_000  # of thirty seconds, less what this test has taken
        assert await redis.zcard(keys.running(keys.queue("standard", "acme"))) == 0
        statuses = [await job.status() for job in jobs]
        assert {status.attempts for status in statuses} == {0}
