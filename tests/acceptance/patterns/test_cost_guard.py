"""Cost guard: two hundred workers, one dollar, and workers that are killed wherever they are."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_schemas.budgets import Budget, Limit
from penstock_schemas.results import nanousd
from penstock_simulator.simulator import Simulator
from penstock_worker.attempt.store import Intended
from penstock_worker.engine.lease import Lease
from penstock_worker.money.budgets import BudgetSpent, Hold
from tests.support.alerts import alerts
from tests.support.jobs import HandWorker, lapse
from tests.support.workers import work_off, worker_settings

DOLLAR = nanousd("1.00")
WORKERS, JOBS = 200, 600
INTENT = {"target": "openai/gpt-4o-mini", "prompt": "summarize@1", "route": "default", "purpose": "ask", "at_ms": 7}
TAKEN = ("spent", "held", "uncertain", "tokens_spent", "tokens_held", "tokens_uncertain")
SCOPES = ("global", "tenant:acme", "user:acme/ann@example.com", "task:summarize", "prompt:summarize@1")


class Killed(Exception):
    """A worker is gone: it tells nothing more, and its lease is over."""


async def calls(worker: HandWorker, lease: Lease, dice: random.Random, most: int) -> None:
    """One job as a worker works at it, which may die before the call, during it, or tell its end too late."""
    held = dice.randint(most // 2, most)
    calls = int(dict(zip(lease.payload[2][::2], lease.payload[2][1::2], strict=True)).get(b"calls", 0))
    call = f"1.{lease.job_try}.{calls + 1}"
    intent = {**INTENT, "held_nanousd": held, "held_tokens": 900}
    assert await worker.store.intend(lease, call, intent, 99, hold=Hold(held, 900)) is Intended.YES
    if dice.random() < 0.2:
        raise Killed
    cost = dice.randint(0, held)
    end: dict[str, Any] = {"cost_nanousd": cost, "uncertain_nanousd": 0}
    if dice.random() < 0.1:  # it was cut off after it was sent
        end = {"cost_nanousd": 0, "uncertain_nanousd": held}
    await asyncio.sleep(0)
    about: dict[str, Any] = {
        "tenant": "acme",
        "task": "summarize",
        "target": INTENT["target"],
        "prompt": INTENT["prompt"],
    }
    kind = "failed" if end["uncertain_nanousd"] else "answered"
    await worker.store.settle(lease, call, kind, end, ledger=about, tokens=300, **end)
    if dice.random() < 0.1:
        raise Killed
    await worker.store.finish(lease, "succeeded", field="result", body=b"{}", attempt={}, event={})


async def works(worker: HandWorker, redis: Any, dice: random.Random, most: int, told: Counter[str]) -> None:
    """A worker until all jobs have ended, or wait; killed, another takes its place at once, and one takes its job."""
    while told["done"] + told["parked"] < JOBS:
        leases = await worker.claim()
        if not leases:
            await asyncio.sleep(0.02)  # the pace of an idle worker
            continue
        try:
            await calls(worker, leases[0], dice, most)
            told["done"] += 1
        except BudgetSpent:
            told["parked"] += 1
            await worker.store.reschedule(
                leases[0], delay_s=3600, charged=False, attempt=None, reason="budget_exceeded"
            )
        except Killed:
            told["killed"] += 1
            await lapse(redis, leases[0])


@pytest.fixture
async def limited(redis: Any) -> Callable[[], Any]:
    """A dollar and some tokens for each scope that there is; gives what is taken of the one that is fullest."""
    budget = Budget({"hour": Limit(DOLLAR, 200_000), "day": Limit(DOLLAR), "month": Limit(DOLLAR)})
    for scope in SCOPES:
        await redis.hset(keys.BUDGETS, scope, budget.to_json("command"))

    async def fullest() -> tuple[int, int, int]:
        most = [0, 0, 0]
        async with redis.pipeline(transaction=True) as one_moment:
            names = [name async for name in redis.scan_iter(match=keys.budget("*", "*"), count=10_000)]
            for name in names:
                one_moment.hmget(name, TAKEN)
            for row in await one_moment.execute():
                spent, held, uncertain, *tokens = (int(value or 0) for value in row)
                assert min(spent, held, uncertain, *tokens) >= 0
                taken = (spent + held + uncertain, sum(tokens), held)
                most = [max(pair) for pair in zip(most, taken, strict=True)]
        return most[0], most[1], most[2]

    return fullest


async def test_two_hundred_workers_never_pass_a_dollar(
    redis: Redis, redis_url: str, limited: Callable[[], Any]
) -> None:
    """In every scope and window, at every sample; at the end nothing is held, and the ledger says what is taken."""
    clients = [Redis.from_url(redis_url) for _ in range(8)]
    workers = [HandWorker(clients[n % 8], lease_s=3_600) for n in range(WORKERS)]
    told: Counter[str] = Counter()
    async with Producer.connect(redis_url, tenant="acme", user="ann@example.com") as producer:
        await producer.enqueue_many([Summarize(text=f"Mail {n}.") for n in range(JOBS)])
    working = [
        asyncio.create_task(works(worker, redis, random.Random(n), DOLLAR // 100, told))
        for n, worker in enumerate(workers)
    ]
    everyone = asyncio.gather(*working)
    while not everyone.done():  # or one has failed, and left a job behind that nobody ends
        taken, tokens, _ = await limited()
        assert taken <= DOLLAR
        assert tokens <= 200_000
        await asyncio.sleep(0.01)  # the pace of the samples
    await everyone
    taken, _, _ = await limited()
    assert taken > 0.8 * DOLLAR, "the dollar was used"
    assert min(told.values()) > 0, told
    assert await in_the_ledger(redis) == await in_the_budget(redis)
    for client in clients:
        await client.aclose()


async def in_the_ledger(redis: Redis) -> tuple[int, int]:
    """What was spent and what is uncertain, the last word of each call counting."""
    calls: dict[tuple[bytes, bytes], tuple[int, int]] = {}
    for _, row in await redis.xrange(keys.LEDGER):
        calls[row[b"job"], row[b"call"]] = (int(row[b"cost_nanousd"]), int(row[b"uncertain_nanousd"]))
    return sum(cost for cost, _ in calls.values()), sum(uncertain for _, uncertain in calls.values())


async def in_the_budget(redis: Any) -> tuple[int, int]:
    """The same by the scope of everything; what is held still is of calls that nobody has told the end of."""
    (name,) = [name async for name in redis.scan_iter(match=keys.budget("global", "month:*"))]
    spent, uncertain = await redis.hmget(name, "spent", "uncertain")
    return int(spent or 0), int(uncertain or 0)


async def test_a_spent_budget_makes_no_call_and_is_told_once(
    producer: Producer, simulator: Simulator, redis: Redis, redis_url: str
) -> None:
    """Ten jobs of a task whose budget is spent degrade, as it says; the provider sees none of them."""
    jobs = await producer.enqueue_many([Summarize(text=f"The mill has {n} stones.") for n in range(10)])
    budgets = {"task:summarize": {"day_usd": "0", "when_spent": "degrade"}}
    await work_off(worker_settings(redis_url, simulator.base_url, budgets=budgets))
    for job in jobs:
        result = await job.result(timeout_s=0)
        assert result.failure is not None
        assert (result.state, result.failure.code) == ("degraded", "budget_exceeded")
    assert simulator.calls() == []
    assert await alerts(redis) == [("budget_spent", "task:summarize")]
