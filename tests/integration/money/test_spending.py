"""Workers with budgets: nothing is called that has no room, and what was held is settled."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import JobState, Producer, Summarize
from penstock_schemas import keys
from penstock_schemas.errors import ConfigurationError
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.wait import until
from tests.support.workers import work_off, working

Make = Callable[..., Settings]

LIMIT = 2_000_000
TENANT = {"tenant:*": {"month_usd": "0.002", "when_spent": "degrade"}}


async def budget_of(redis: Any, scope: str) -> dict[str, int]:
    """The one budget of *scope* that was written."""
    (name,) = [name async for name in redis.scan_iter(match=keys.budget(scope, "*"))]
    row: Any = await redis.hgetall(name)
    return {field.decode(): int(value) for field, value in row.items()}


async def test_jobs_beyond_a_budget_degrade_and_all_adds_up(
    redis: Redis, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Spent is the sum of the results is the provider's bill; nothing stays held, and the limit holds."""
    jobs = await producer.enqueue_many([Summarize(text=f"Mail number {n}. Thank you.") for n in range(40)])
    await work_off(settings(budgets=TENANT))
    results = [await job.result(timeout_s=0) for job in jobs]
    succeeded = [result for result in results if result.state == "succeeded"]
    spared = [result for result in results if result.failure and result.failure.code == "budget_exceeded"]
    assert succeeded
    assert spared
    assert len(succeeded) + len(spared) == len(jobs)
    row = await budget_of(redis, "tenant:acme")
    assert row["spent"] == sum(result.cost_nanousd or 0 for result in results) <= LIMIT
    assert row["held"] == row["tokens_held"] == 0
    assert row["calls"] == len(simulator.calls()) == len(succeeded)
    assert row["tokens_spent"] == sum(result.usage.total_tokens or 0 for result in succeeded)


async def test_a_job_waits_for_the_window_to_turn(
    redis: Redis, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """It holds no slot, and the attempt is not charged."""
    job = await producer.enqueue(Summarize(text="A mail."))
    async with working(settings(budgets={"global": {"month_usd": "0"}})):
        events = job.events()
        waits = [event async for event in until_scheduled(events)]
    assert waits[-1].data["reason"] == "budget_exceeded"
    status = await job.status()
    assert (status.state, status.attempts) == (JobState.SCHEDULED, 0)
    assert simulator.calls() == []


async def until_scheduled(events: Any) -> Any:
    """The events up to the first wait."""
    async for event in events:
        yield event
        if event.type == "scheduled":
            return


async def test_a_wait_past_the_deadline_is_no_wait(producer: Producer, settings: Make) -> None:
    """The fallback answers at once."""
    job = await producer.enqueue(Summarize(text="A mail. It is short."), deadline_s=60)
    await work_off(settings(budgets={"task:summarize": {"month_usd": "0"}}))
    result = await job.result(timeout_s=0)
    assert result.failure is not None
    assert result.failure.code == "budget_exceeded"


async def test_a_call_that_is_cut_off_stays_uncertain(
    redis: Redis, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """A cancelled call may have been billed: its worst case stays off the budget."""
    job = await producer.enqueue(Summarize(text="[[simulate: hang]] A mail."))
    async with working(settings(budgets=TENANT)):
        await until(lambda: bool(simulator.calls()), timeout_s=30)
        await job.cancel()
        async for _ in job.events():
            pass
    row = await budget_of(redis, "tenant:acme")
    assert row["held"] == 0
    assert 0 < row["uncertain"] <= LIMIT


async def test_a_target_without_a_price_stops_the_worker_at_its_start(settings: Make) -> None:
    """It is said what to do; where the route allows it, the worker starts."""
    unknown = {"targets": ["openai/nobody-knows-it"]}
    with pytest.raises(ConfigurationError, match=r'prices\."openai/nobody-knows-it": its price is unknown') as refusal:
        await asyncio.wait_for(work_off(settings(**unknown)), 30)
    assert 'routes.default.unknown_price = "allow"' in refusal.value.message
    await asyncio.wait_for(work_off(settings(**unknown, route={"unknown_price": "allow"})), 30)


async def test_a_redis_that_comes_back_empty_is_told_the_budgets_before_the_next_call(
    redis: Redis, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """A worker with budgets makes no call that they have not let through."""
    async with working(settings(budgets={"global": {"day_usd": "0", "when_spent": "degrade"}})):
        await until(lambda: told(redis), timeout_s=30)
        await redis.flushdb()
        result = await (await producer.enqueue(Summarize(text="A mail. It is short."))).result(timeout_s=30)
    assert result.failure is not None
    assert result.failure.code == "budget_exceeded"
    assert simulator.calls() == []


async def told(redis: Any) -> bool:
    """Whether a worker has told its budgets."""
    return bool(await redis.hexists(keys.BUDGETS, "global"))


async def test_a_wrong_budget_stops_the_worker_at_its_start(settings: Make) -> None:
    """A scope or an amount that is none names its key."""
    for budgets, key in (
        ({"tenants:acme": {"day_usd": "1"}}, "budgets.tenants:acme"),
        ({"global": {"day_usd": "lots"}}, "budgets.global.day_usd"),
    ):
        with pytest.raises(ConfigurationError, match=key):
            await asyncio.wait_for(work_off(settings(budgets=budgets)), 30)
