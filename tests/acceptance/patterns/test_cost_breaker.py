"""Per-endpoint daily cost breaker: a prompt that costs ten times its usual is stopped within one window, alone."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from redis.asyncio import Redis

from penstock import Classify, JobHandle, JobState, Producer, Summarize
from penstock.budgets import Budgets
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from penstock_worker.settings.money import WatchSection
from tests.support.alerts import alerts
from tests.support.wait import until
from tests.support.workers import worker_settings, working

CHEAP, USUAL = 100, 1_000_000
"""Nano-USD that a call used to cost; one of ours costs some 20,000."""
ROUTES = {"summarize": {"targets": ["openai/gpt-4o-mini"]}, "classify": {"targets": ["openai/gpt-4o-mini"]}}


def watched(redis_url: str, simulator: Simulator, **watch: Any) -> Settings:
    """A worker that is on its guard from a tenth of a cent on."""
    settings = worker_settings(redis_url, simulator.base_url, routes=ROUTES, concurrency=4)
    return settings.model_copy(update={"watch": WatchSection(min_usd="0.00005", **watch)})


async def a_usual_past(redis: Redis, scope: str, call_nanousd: int, calls: int = 1_000) -> None:
    """Five days on which this scope made so many calls for so much each."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    past = orjson.dumps([[call_nanousd * calls, calls]] * 4)
    row = {"window": f"day:{yesterday:%Y-%m-%d}", "spent": call_nanousd * calls, "calls": calls, "past": past}
    await redis.hset(keys.trail(scope), mapping=row)  # type: ignore[misc]


async def ended(jobs: list[JobHandle[Any]]) -> Counter[JobState]:
    """How many jobs are in which state; those that wait are scheduled."""
    return Counter([(await job.status()).state for job in jobs])


async def test_a_prompt_that_costs_ten_times_its_usual_is_stopped_alone(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str
) -> None:
    """Its jobs wait, uncharged, the other prompt's succeed; it is told once, and a command lets it go on."""
    await a_usual_past(redis, "prompt:summarize@1", CHEAP)
    await a_usual_past(redis, "prompt:classify@1", USUAL)
    dear = await producer.enqueue_many([Summarize(text=f"The mill has {n} stones.") for n in range(60)])
    usual = await producer.enqueue_many([Classify(text=f"Mail {n}.", labels=["a", "b"]) for n in range(60)])
    async with working(watched(redis_url, simulator)):
        await asyncio.gather(*(job.result(timeout_s=60) for job in usual))
        await until(lambda: over(dear), timeout_s=60)
        stopped = await ended(dear)
        assert stopped[JobState.SUCCEEDED] >= 20, "below so many calls nothing is sure"
        assert stopped[JobState.SCHEDULED] >= 30
        assert await alerts(redis) == [("cost_breaker_open", "prompt:summarize@1")]
        waiting = [job for job in dear if (await job.status()).state == JobState.SCHEDULED]
        assert (await waiting[0].status()).attempts == 0
        budgets = Budgets(producer)
        assert [one.scope for one in await budgets.stopped()] == ["prompt:summarize@1"]
        assert await budgets.reset("prompt:summarize@1")
        assert await budgets.stopped() == []
        result = await (await producer.enqueue(Summarize(text="One more."))).result(timeout_s=60)
    assert result.state == "succeeded"


async def over(jobs: list[JobHandle[Any]]) -> bool:
    """Whether each has ended, or waits."""
    states = await ended(jobs)
    return states[JobState.SUCCEEDED] + states[JobState.SCHEDULED] == len(jobs)


async def test_a_route_that_costs_ten_times_its_usual_is_stopped_whatever_its_prompt(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str
) -> None:
    """A new version of a prompt has no past; its route has one."""
    await a_usual_past(redis, "route:summarize", CHEAP)
    jobs = await producer.enqueue_many([Summarize(text=f"The mill has {n} stones.") for n in range(60)])
    async with working(watched(redis_url, simulator)):
        await until(lambda: over(jobs), timeout_s=60)
    assert (await ended(jobs))[JobState.SCHEDULED] >= 30
    assert await alerts(redis) == [("cost_breaker_open", "route:summarize")]


async def test_what_has_no_past_is_not_stopped(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str
) -> None:
    """Nor what costs what it always did: there is nothing unusual about it."""
    await a_usual_past(redis, "prompt:summarize@1", 20_000)
    jobs: list[JobHandle[Any]] = []
    jobs += await producer.enqueue_many([Summarize(text=f"The mill has {n} stones.") for n in range(30)])
    jobs += await producer.enqueue_many([Classify(text=f"Mail {n}.", labels=["a", "b"]) for n in range(30)])
    async with working(watched(redis_url, simulator)):
        await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))
    assert await alerts(redis) == []
