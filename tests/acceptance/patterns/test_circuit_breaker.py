"""Circuit breaker: a hundred workers at the reopening send exactly as many calls as there are probes."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Classify, Producer
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_store.batcher import Batcher
from penstock_worker.attempt.store import AttemptStore, Intended
from penstock_worker.engine.lease import Lease
from penstock_worker.routing.closed import Closed
from penstock_worker.routing.policy import BreakerPolicy, Policy
from tests.support.jobs import hand_worker
from tests.support.wait import until
from tests.support.workers import worker_settings, working

TARGET = "openai/gpt-4o-mini"
WORKERS = 100


def asks(count: int) -> list[Classify]:
    return [Classify(text=f"mail {number}", labels=["billing", "bug"]) for number in range(count)]


def intent() -> dict[str, Any]:
    return {"target": TARGET, "prompt": "classify@1", "purpose": "ask", "held_nanousd": 100, "at_ms": 1}


@pytest.mark.parametrize("probes", [1, 3, 7])
async def test_a_hundred_workers_at_the_reopening_send_exactly_the_probes(
    redis_url: str, redis: Redis, producer: Producer, probes: int
) -> None:
    """Each on a connection of its own, all at one time; the other jobs are told to come back."""
    await redis.hset(keys.breaker(TARGET), mapping={"state": "open", "until": 1, "repeats": 1})  # type: ignore[misc]
    await producer.enqueue_many(asks(WORKERS))
    policy = Policy(BreakerPolicy(probes=probes))
    async with AsyncExitStack() as stack:
        claimer = await stack.enter_async_context(hand_worker(redis_url))
        leases = await claimer.claim(WORKERS)
        clients = [await stack.enter_async_context(Redis.from_url(redis_url)) for _ in leases]
        stores = [AttemptStore(Batcher(client), policy) for client in clients]

        async def ask(store: AttemptStore, lease: Lease) -> Intended | Closed:
            return await store.intend(lease, "1.1.1", intent(), 30)

        answers = await asyncio.gather(*map(ask, stores, leases))
    assert len(answers) == WORKERS
    assert answers.count(Intended.PROBE) == probes
    closed = [answer for answer in answers if isinstance(answer, Closed)]
    assert len(closed) == WORKERS - probes
    assert {answer.why for answer in closed} == {"breaker_open"}


@pytest.mark.parametrize("ends", ["cancelled", "worker_gone"])
async def test_a_probe_that_nobody_sees_the_end_of_gives_way(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator, ends: str
) -> None:
    """Cancelled, or cut off with its worker: another probe is sent, and when they go well all go on."""
    await redis.hset(keys.breaker(TARGET), mapping={"state": "open", "until": 1, "repeats": 1})  # type: ignore[misc]
    simulator.script(["hang times=1"])
    breaker = {"probes": 1, "ramp_s": 1.0}
    settings = worker_settings(redis_url, simulator.base_url, breaker=breaker, drain_s=120.0)
    first = await producer.enqueue(asks(1)[0])
    async with working(settings) as worker:
        await simulator.until(lambda stats: stats.in_flight == 1)
        if ends == "cancelled":
            await first.cancel()
        else:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            worker = asyncio.create_task(asyncio.sleep(0))
    async with working(settings):
        second = await producer.run(asks(2)[1], timeout_s=30)
    assert second.state == "succeeded"
    await until(lambda: len(simulator.calls()) >= 2)
    assert b"state" not in await redis.hgetall(keys.breaker(TARGET))  # type: ignore[misc]
