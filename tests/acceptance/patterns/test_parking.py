"""Parking instead of failing: jobs wait with a known time, fair between tenants, and are released in order."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Classify, JobHandle, Producer
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.attempt.store import AttemptStore, Parked
from penstock_worker.engine.lease import Lease
from penstock_worker.routing.policy import BreakerPolicy, Policy, TargetLimits
from tests.support.guards import Guards
from tests.support.jobs import HandWorker, hand_worker
from tests.support.wait import until
from tests.support.workers import worker_settings, working

TARGET = "openai/gpt-4o-mini"
TENANTS = {"flood": 3_000, "busy": 1_500, "small": 500}
CAP_PER_MIN = 6_000


def asks(count: int) -> list[Classify]:
    return [Classify(text=f"mail {number}", labels=["billing", "bug"]) for number in range(count)]


async def enqueue(url: str, tenants: dict[str, int]) -> None:
    """So many jobs for each tenant."""
    for tenant, count in tenants.items():
        async with Producer.connect(url, tenant=tenant) as producer:
            await producer.enqueue_many(asks(count))


async def park_all(worker: HandWorker) -> int:
    """As an attempt does that finds its target closed: a place in its line, and back to the queue, uncharged."""
    parked = 0

    async def park(lease: Lease) -> None:
        code, at_ms = await worker.store.park(lease, TARGET, 200, None)
        assert code is Parked.YES
        told = {"charged": False, "attempt": None, "reason": "breaker_open"}
        await worker.store.reschedule(lease, delay_s=0, due_at_ms=at_ms, **told)

    while leases := await worker.claim(256):
        await asyncio.gather(*map(park, leases))
        parked += len(leases)
    return parked


async def turns(redis: Redis, tenants: Sequence[str]) -> list[tuple[float, str, str]]:
    """When each waiting job may run, in order: ms, tenant, id."""
    found = []
    for tenant in tenants:
        rows = await redis.zrange(keys.queue("standard", tenant), 0, -1, withscores=True)
        found += [(score, tenant, job.decode()) for job, score in rows]
    return sorted(found)


async def open_breaker(redis: Redis, policy: Policy) -> int:
    """Let five calls fail, so that it opens now; the moment at which it will be tried again, ms."""
    seconds, _ = await redis.time()
    guards = Guards(redis, policy, now_ms=seconds * 1000)
    for _ in range(5):
        await guards.report("bad", target=TARGET)
    return int((await guards.breaker(TARGET))["until"])


async def test_five_thousand_parked_jobs_are_released_in_order_and_fairly(redis_url: str, redis: Redis) -> None:
    """An hour of outage: every job has its time; no tenant waits for another's flood; no burst at the reopening."""
    await enqueue(redis_url, TENANTS)
    before = await turns(redis, [*TENANTS])
    policy = Policy(
        BreakerPolicy(open_s=3_600, max_open_s=3_600), {"openai": TargetLimits(requests_per_min=CAP_PER_MIN)}
    )
    opens_at = await open_breaker(redis, policy)
    async with hand_worker(redis_url) as worker:
        worker.store = AttemptStore(worker.batcher, policy)
        assert await park_all(worker) == sum(TENANTS.values())

    waiting = await turns(redis, [*TENANTS])
    assert len(waiting) == 5_000
    assert waiting[0][0] >= opens_at - 1  # nobody before
    for tenant in TENANTS:
        queued, own = ([job for _, whose, job in line if whose == tenant] for line in (before, waiting))
        assert own == queued  # in order

    first = Counter(tenant for _, tenant, _ in waiting[:1_200])
    assert min(first.values()) >= 350  # a third each, as long as each has any
    last_small = max(place for place, (_, tenant, _) in enumerate(waiting) if tenant == "small")
    assert last_small < 3 * TENANTS["small"] + 300

    per_s = Counter(int((at - opens_at) // 1000) for at, _, _ in waiting)
    cap_per_s = CAP_PER_MIN / 60
    assert sum(per_s[second] for second in range(10)) <= 10 * cap_per_s * 1.1
    assert all(per_s[second] <= cap_per_s * 1.1 for second in range(60))
    assert per_s[9] >= cap_per_s * 0.9  # at full speed within ten seconds
    assert min(later - earlier for (earlier, *_), (later, *_) in pairwise(waiting)) >= 0


async def test_an_outage_makes_no_calls_and_loses_no_job(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator
) -> None:
    """While it is open nothing is sent; at the reopening the probes alone; then all, each once, none charged."""
    seconds, micros = await redis.time()
    opens_at = seconds * 1000 + micros // 1000 + 3_000
    await redis.hset(keys.breaker(TARGET), mapping={"state": "open", "until": opens_at, "repeats": 1})  # type: ignore[misc]
    settings = worker_settings(redis_url, simulator.base_url, breaker={"ramp_s": 6.0})
    async with working(settings), working(settings):
        jobs: list[JobHandle[Any]] = await producer.enqueue_many(asks(150))
        results = await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))
    assert {(result.state, result.attempts, result.calls) for result in results} == {("succeeded", 1, 1)}
    began = sorted(call.started_at_ms for call in simulator.calls())
    assert len(began) == 150
    assert began[0] >= opens_at - 50


@pytest.mark.parametrize("fault", ["invalid-key", "model-not-found"])
async def test_a_key_that_is_rotated_loses_no_job(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator, fault: str
) -> None:
    """The account closes at once; also those that met it first wait, uncharged, and succeed when it is mended."""
    simulator.script([fault])
    breaker = {"access_open_s": 1.0, "max_access_open_s": 1.0, "ramp_s": 1.0}
    settings = worker_settings(redis_url, simulator.base_url, breaker=breaker, concurrency=5)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(working(settings))
        jobs = await producer.enqueue_many(asks(40), max_attempts=1, on_failure="dead_letter")

        async def all_wait() -> bool:
            return int(await redis.hget(keys.COUNTS, "scheduled") or 0) == 40  # type: ignore[misc]

        await until(all_wait, timeout_s=20)
        assert len(simulator.calls()) <= 10 + 3  # who was under way, and a probe or two
        simulator.script([])
        results = await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))
    assert {(result.state, result.attempts) for result in results} == {("succeeded", 1)}
