"""The books are compared while workers write: nothing is missed, and nobody is accused."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock.money_audit import Audit, audit_money
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_store.batcher import Batcher
from penstock_worker.money.rolling import Rolling
from penstock_worker.settings import Settings
from tests.support.jobs import dump
from tests.support.wait import until
from tests.support.workers import work_off, working

Make = Callable[..., Settings]
BUDGETS = {"global": {"month_usd": "100"}, "tenant:*": {"day_usd": "50", "hour_tokens": 10**9}}
FAULTS = ["", "", "", "cut-body", "usage-missing", "status", "length"]


def faults(audit: Audit) -> list[str]:
    return [*audit.ledger.faults, *audit.budgets.faults, *audit.jobs.faults, *audit.calls.faults]


async def enqueue(producer: Producer, count: int) -> None:
    texts = [
        f"[[simulate: {FAULTS[n % 7]}]] Mail {n}." if FAULTS[n % 7] else f"Mail {n}. Thanks." for n in range(count)
    ]
    await producer.enqueue_many([Summarize(text=text) for text in texts], max_attempts=1)


@pytest.fixture
async def books(redis: Redis, producer: Producer, settings: Make) -> str:
    """The budget's name, after jobs that went well and badly."""
    await enqueue(producer, 21)
    await work_off(settings(budgets=BUDGETS))
    await Rolling(Batcher(redis)).step()
    (name,) = [key async for key in redis.scan_iter(match=keys.budget("global", "*"))]
    return str(name.decode())


async def test_nothing_is_wrong_with_what_is_right(redis: Redis, producer: Producer, books: str) -> None:
    """Everything is looked at, and nothing is written."""
    before = await dump(redis)
    audit = await audit_money(producer.link)
    assert faults(audit) == []
    assert (audit.jobs.looked_at, audit.ledger.looked_at > 21, audit.budgets.looked_at) == (21, True, 3)
    assert await dump(redis) == before


Spoil = Callable[[Redis, str, str], Awaitable[Any]]
SPOILERS: list[tuple[str, Spoil, str]] = [
    ("a budget's sum", lambda r, b, j: r.hincrby(b, "spent", 1), "spent is"),
    ("what it is unsure of", lambda r, b, j: r.hincrby(b, "uncertain", 1), "uncertain is"),
    ("a hold of nobody", lambda r, b, j: r.hincrby(b, "held", 5), "held is 5, open calls and jobs hold 0"),
    ("tokens below nothing", lambda r, b, j: r.hset(b, "tokens_held", -1), "tokens_held is -1"),
    ("a job's cost", lambda r, b, j: r.hincrby(keys.record(j), "cost_nanousd", 1), "record"),
    ("a lost entry", lambda r, b, j: r.xtrim(keys.LEDGER, maxlen=3, approximate=False), "ledger"),
    ("a lost end", lambda r, b, j: r.hdel(keys.journal(j), "1.1.1:end"), "1.1.1 has no end, and its job is"),
    ("a sum of the ledger", lambda r, b, j: _spoil_sum(r), "their sums"),
    ("a record of others", lambda r, b, j: r.hset(keys.record(j), "cost_nanousd", "much"), "cannot be read"),
    (
        "a negative entry",
        lambda r, b, j: r.xadd(keys.LEDGER, {"job": "x", "cost_nanousd": "-1"}),
        "an amount that is negative",
    ),
]


async def _spoil_sum(redis: Redis) -> None:
    (name,) = [key async for key in redis.scan_iter(match=keys.rolled("day:*"))]
    row: Any = await redis.hgetall(name)  # type: ignore[misc]
    field, tally = next(iter(row.items()))
    await redis.hset(name, field, tally.replace(b" ", b"1 ", 1))  # type: ignore[misc]


@pytest.mark.parametrize(("spoil", "fault"), [row[1:] for row in SPOILERS], ids=[row[0] for row in SPOILERS])
async def test_each_fault_is_found_and_named(
    redis: Redis, producer: Producer, books: str, spoil: Spoil, fault: str
) -> None:
    """With the job, the call or the budget that it is of."""
    (job_id, *_) = [key async for key in redis.scan_iter(match=keys.record("*"))]
    job = job_id.decode().removeprefix(keys.record(""))
    await spoil(redis, books, job)
    found = faults(await audit_money(producer.link))
    assert any(fault in text for text in found), found


async def test_nobody_is_accused_while_workers_write(
    redis: Redis, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Looked at again and again, from the first call to the last: in-flight calls are no faults."""
    simulator.script(["delay seconds=0.01"])
    await enqueue(producer, 280)
    looks = 0
    async with working(settings(budgets=BUDGETS, concurrency=20)):
        while int(await redis.hget(keys.COUNTS, "open") or 0):  # type: ignore[misc]
            assert faults(await audit_money(producer.link)) == []
            looks += 1
    assert looks >= 3
    assert faults(await audit_money(producer.link)) == []


async def test_a_call_under_way_is_no_fault_and_holds_what_it_holds(
    redis: Redis, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """At rest with one call open, what budgets hold is compared, and right."""
    await producer.enqueue(Summarize(text="[[simulate: hang]] A mail."))
    async with working(settings(budgets=BUDGETS)):
        await until(lambda: bool(simulator.calls()), timeout_s=30)
        audit = await audit_money(producer.link)
        assert (faults(audit), audit.budgets.notes, audit.calls.looked_at) == ([], [], 1)
        (name,) = [key async for key in redis.scan_iter(match=keys.budget("global", "*"))]
        await redis.hincrby(name, "held", 1)  # type: ignore[misc]
        assert any("held is" in text for text in faults(await audit_money(producer.link)))
        await asyncio.gather(*[redis.hincrby(name, "held", -1)])  # type: ignore[misc]


async def test_what_a_budget_in_use_holds_is_compared_beside_the_jobs_that_run(
    redis: Redis, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Its numbers change all the while; a call under way is found, and a hold of nobody is told as unsure."""
    await producer.enqueue(Summarize(text="[[simulate: hang]] A mail."))
    async with working(settings(budgets=BUDGETS)):
        await until(lambda: bool(simulator.calls()), timeout_s=30)
        (name,) = [key async for key in redis.scan_iter(match=keys.budget("global", "*"))]
        using = asyncio.create_task(_use(redis, name))
        audit = await audit_money(producer.link)
        assert (faults(audit), audit.budgets.notes) == ([], [])
        await redis.hincrby(name, "held", 1)  # type: ignore[misc]
        audit = await audit_money(producer.link)
        assert (faults(audit), len(audit.budgets.notes)) == ([], 1)
        await redis.hincrby(name, "held", -1)  # type: ignore[misc]
        using.cancel()
        await asyncio.gather(using, return_exceptions=True)


async def _use(redis: Redis, name: bytes) -> None:
    while True:
        await redis.hincrby(name, "calls", 1)  # type: ignore[misc]
