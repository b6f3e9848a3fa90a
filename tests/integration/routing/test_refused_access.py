"""A refused key: all calls with it stop, the worker says so and is not ready, and is well again when it is mended."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from penstock import Classify, JobDeadError, Producer
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_store.server import free_port
from penstock_worker.engine.health import check_health
from penstock_worker.routing import exchange
from tests.support.alerts import alerts
from tests.support.wait import until
from tests.support.workers import worker_settings, working

QUICK = {"access_open_s": 0.5, "max_access_open_s": 0.5, "ramp_s": 1.0}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A provider that refuses the key."""
    async with Simulator() as simulator:
        simulator.script(["invalid-key"])
        yield simulator


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    async with Producer.connect(redis_url, tenant="acme") as producer:
        yield producer


def ask(text: str = "mail") -> Classify:
    return Classify(text=text, labels=["billing", "bug"])


async def test_a_worker_is_not_ready_while_an_account_is_closed(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the account, works on, and is ready again by itself."""
    monkeypatch.setattr(exchange, "EVERY_S", 0.05)
    port = free_port()
    async with working(worker_settings(redis_url, simulator.base_url, breaker=QUICK, health_port=port)):

        async def ready() -> bool:
            return (await check_health(port))[0]

        await until(ready, timeout_s=20)
        job = await producer.enqueue(ask())

        async def told() -> bool:
            well, about = await check_health(port)
            return not well and about["why_not"] == "closed for a refused key or for want of credit: openai"

        await until(told, timeout_s=20)
        assert await alerts(redis) == [("access_refused", "openai")]
        simulator.script([])
        assert (await job.result(timeout_s=30)).attempts == 1
        await until(ready, timeout_s=20)


async def test_a_deadline_is_kept_while_an_account_is_closed(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """The job does not wait beyond it: it gets its fallback at once when the reopening comes later."""
    breaker = {"access_open_s": 60.0}
    async with working(worker_settings(redis_url, simulator.base_url, breaker=breaker)):
        result = await producer.run(ask(), deadline_s=20, timeout_s=15)
    assert result.failure is not None
    assert (result.state, result.failure.code) == ("degraded", "deadline_exceeded")
    assert [tried.code for tried in result.tried] == ["auth_failed"]


async def test_a_policy_may_have_jobs_fail_instead(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator
) -> None:
    """Who meets the refusal, and who finds the account closed: at once, and with a reason that says it."""
    breaker = {**QUICK, "access_open_s": 60.0, "max_access_open_s": 60.0, "access_refused": "fail"}
    async with working(worker_settings(redis_url, simulator.base_url, breaker=breaker, concurrency=1)):
        reasons = []
        for number in range(2):
            job = await producer.enqueue(ask(f"mail {number}"), on_failure="dead_letter")
            with pytest.raises(JobDeadError) as dead:
                await job.result(timeout_s=30)
            reasons.append(dead.value.reason)
    assert reasons == ["auth_failed", "account_closed"]
    assert len(simulator.calls()) == 1
    assert await redis.hget(keys.breaker("openai"), "state") == b"open"  # type: ignore[misc]
