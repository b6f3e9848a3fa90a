"""Cost anomaly alerts: as events and log lines, each once in its window, whichever worker notices."""

import asyncio

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from penstock import Producer, Summarize
from penstock_simulator.simulator import Simulator
from tests.acceptance.patterns.test_cost_breaker import CHEAP, a_usual_past, watched
from tests.support.alerts import alerts
from tests.support.workers import work_off, worker_settings, working


async def enqueue(producer: Producer, count: int) -> None:
    await producer.enqueue_many([Summarize(text=f"The mill has {n} stones.") for n in range(count)])


async def test_a_tenant_that_spends_ten_times_its_usual_is_told_and_goes_on(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str
) -> None:
    """Once, by two workers together, and in the log of one of them."""
    await a_usual_past(redis, "tenant:acme", CHEAP)
    await enqueue(producer, 60)
    settings = watched(redis_url, simulator)
    with capture_logs() as logs:
        await asyncio.gather(work_off(settings), work_off(settings))
    assert await alerts(redis) == [("spend_above_usual", "tenant:acme")]
    (line,) = [line for line in logs if line["event"] == "alert"]
    assert (line["code"], line["scope"], line["log_level"]) == ("spend_above_usual", "tenant:acme", "warning")
    assert line["window"].startswith("day:")
    assert len(simulator.calls()) == 60


async def test_without_a_stop_a_prompt_is_only_told(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str
) -> None:
    """For who would rather look first."""
    await a_usual_past(redis, "prompt:summarize@1", CHEAP)
    await enqueue(producer, 40)
    await work_off(watched(redis_url, simulator, stop=False))
    assert await alerts(redis) == [("spend_above_usual", "prompt:summarize@1")]
    assert len(simulator.calls()) == 40


async def test_a_budget_is_told_at_four_fifths_and_when_it_is_spent(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str
) -> None:
    """The log does not name the user, the event does."""
    await producer.enqueue_many(
        [Summarize(text=f"The mill has {n} stones.") for n in range(200)], user="ann@example.com"
    )
    budgets, route = {"user:*": {"month_usd": "0.001", "when_spent": "degrade"}}, {"max_output_tokens": 60}
    with capture_logs() as logs:
        await work_off(worker_settings(redis_url, simulator.base_url, budgets=budgets, route=route, concurrency=1))
    assert [code for code, scope in await alerts(redis) if scope == "user:acme/ann@example.com"] == [
        "budget_80_percent",
        "budget_spent",
    ]
    assert {line["scope"] for line in logs if line["event"] == "alert" and "budget" in line["code"]} == {
        "user:acme/..."
    }


async def test_a_call_without_a_price_is_told_once(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str
) -> None:
    """It is made where the route allows it; its tokens count, and its cost is unknown."""
    await enqueue(producer, 5)
    route = {"unknown_price": "allow"}
    await work_off(worker_settings(redis_url, simulator.base_url, targets=["openai/nobody-knows-it"], route=route))
    assert await alerts(redis) == [("unknown_price", "openai/nobody-knows-it")]


@pytest.mark.parametrize(("failing", "told"), [(1, []), (4, [("fallback_rate", "task:summarize")])])
async def test_fallbacks_that_answer_too_often_are_told(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str, failing: int, told: list[tuple[str, str]]
) -> None:
    """One of a hundred is nothing; four are. Monitor fallback rate."""
    texts = ["[[simulate: refusal]] A mail."] * failing + [f"The mill has {n} stones." for n in range(100 - failing)]
    jobs = await producer.enqueue_many([Summarize(text=text) for text in reversed(texts)])
    async with working(worker_settings(redis_url, simulator.base_url)):
        results = await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))
    assert sum(result.state == "degraded" for result in results) == failing
    assert await alerts(redis) == told
