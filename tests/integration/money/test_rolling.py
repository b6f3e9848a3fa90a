"""The ledger's sums: exact in whatever steps they are made, and the same when old entries are taken out."""

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock.costs import COST_KEYS, CostKey, read_cost_report, read_costs
from penstock_schemas import keys
from penstock_schemas.results import moment
from penstock_store.batcher import Batcher
from penstock_worker.engine.lease import Lease
from penstock_worker.money.rolling import Keep, Rolling
from tests.integration.cli.conftest import called, worker
from tests.support.jobs import HandWorker

__all__ = ["worker"]

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
ALL_GO = Keep(entries_days=0, entries=1)
"""Trims all that may go but one entry."""


@pytest.fixture
def rolling(redis: Redis) -> Rolling:
    return Rolling(Batcher(redis))


def trimming(redis: Redis) -> Rolling:
    return Rolling(Batcher(redis), ALL_GO)


async def everything(producer: Producer, **options: Any) -> dict[CostKey, Any]:
    """All lines by every key."""
    return {by: await read_costs(producer, by, **options) for by in COST_KEYS}


async def leases(producer: Producer, worker: HandWorker, count: int) -> list[Lease]:
    await producer.enqueue_many([Summarize(text=f"Text {n}.") for n in range(count)])
    return await worker.claim(count)


async def test_sums_are_those_of_the_entries_however_they_are_made(
    redis: Redis, producer: Producer, worker: HandWorker, rolling: Rolling
) -> None:
    """Answers, failures, unknown ends and what is told of them later, between sums and trims at random."""
    rng = random.Random(5)
    jobs = await leases(producer, worker, 12)
    open_calls: list[tuple[Lease, str]] = []
    spent = uncertain = calls = 0
    for step in range(120):
        lease, call = rng.choice(jobs), f"1.1.{step + 1}"
        match rng.randrange(6):
            case 0 | 1:
                cost = rng.randrange(1_000_000)
                await called(worker, lease, call, kind="answered", cost=cost)
                spent, calls = spent + cost, calls + 1
            case 2:
                await called(worker, lease, call, kind="unknown", cost=0, uncertain=5_000_000)
                open_calls.append((lease, call))
                uncertain, calls = uncertain + 5_000_000, calls + 1
            case 3 if open_calls:
                late, known = open_calls.pop(rng.randrange(len(open_calls)))
                await called(worker, late, known, kind="answered", cost=777)
                spent, uncertain = spent + 777, uncertain - 5_000_000
            case 4:
                await rolling.step()
            case 5:
                await trimming(redis).step()
        (line,) = await read_costs(producer, "task") if calls else (None,)
        if line is not None:
            assert (line.calls, line.cost_nanousd, line.uncertain_nanousd) == (calls, spent, uncertain)
    assert calls > 30
    assert len(open_calls) > 3
    assert await redis.xlen(keys.LEDGER) < calls


async def test_totals_are_the_same_before_and_after_trimming(
    redis: Redis, producer: Producer, worker: HandWorker, rolling: Rolling
) -> None:
    """By every key, to the nano-USD; nothing that is not summed up is taken out."""
    for number, lease in enumerate(await leases(producer, worker, 9)):
        await called(worker, lease, kind="answered", cost=10**number, target=f"openai/{number % 3}")
    before = await everything(producer)
    assert await trimming(redis).step() == (9, 8)
    assert await redis.xlen(keys.LEDGER) == 1
    assert await everything(producer) == before
    (lease,) = await leases(producer, worker, 1)
    await called(worker, lease, kind="answered", cost=5)
    await trimming(redis).step()
    assert sum(line.cost_nanousd for line in await read_costs(producer)) == sum(10**n for n in range(9)) + 5


async def test_a_step_may_be_repeated_and_shared(redis: Redis, producer: Producer, worker: HandWorker) -> None:
    """Many workers at once add each entry once."""
    for lease in await leases(producer, worker, 5):
        await called(worker, lease, kind="answered", cost=3)
    added = [(await Rolling(Batcher(redis)).step())[0] for _ in range(3)]
    assert added == [5, 0, 0]
    (line,) = await read_costs(producer)
    assert (line.calls, line.cost_nanousd) == (5, 15)


async def test_old_entries_go_by_age(redis: Redis, producer: Producer, rolling: Rolling) -> None:
    """Older than the days that are asked for, and younger ones stay."""
    now_ms = int((await redis.time())[0]) * 1000
    for days in (40, 36, 34, 1):
        await add(redis, now_ms - days * DAY_MS, cost=days)
    assert await rolling.step() == (4, 2)
    assert await redis.xlen(keys.LEDGER) == 2
    assert sum(line.cost_nanousd for line in await read_costs(producer)) == 111


async def add(redis: Redis, at_ms: int, *, cost: int, **more: Any) -> str:
    fields: dict[Any, Any] = {"job": "j", "call": "1.1.1", "kind": "answered", "cost_nanousd": cost, "tenant": "t"}
    entry: bytes = await redis.xadd(keys.LEDGER, fields | more, id=f"{at_ms}-*")
    return entry.decode()


START_MS = 20_000 * DAY_MS


async def a_fortnight(redis: Redis) -> Counter[int]:
    """An entry every seven minutes for a while, each of another cost."""
    costs: Counter[int] = Counter()
    pipe = redis.pipeline(transaction=False)
    for number, at_ms in enumerate(range(START_MS, START_MS + 3 * DAY_MS, 7 * 60_000)):
        fields: dict[Any, Any] = {"job": "j", "call": "1.1.1", "cost_nanousd": number + 1, "tenant": "t"}
        pipe.xadd(keys.LEDGER, fields, id=f"{at_ms}-1")
        costs[at_ms] += number + 1
    await pipe.execute()
    return costs


async def test_any_range_is_that_of_its_entries(redis: Redis, producer: Producer, rolling: Rolling) -> None:
    """Days, hours and single entries are put together without a gap and without counting twice."""
    costs = await a_fortnight(redis)
    await rolling.add_up(350)  # the rest stays unsummed
    rng = random.Random(3)
    for _ in range(25):
        low, high = sorted(START_MS + rng.randrange(-DAY_MS, 4 * DAY_MS) for _ in range(2))
        report = await read_cost_report(producer, since=moment(low), until=moment(high))
        assert report.total.cost_nanousd == sum(cost for at, cost in costs.items() if low <= at <= high)
        assert (report.since, report.until) == (moment(low), moment(high))


async def test_a_range_is_widened_to_what_is_kept(redis: Redis, producer: Producer, rolling: Rolling) -> None:
    """To the hour where entries are gone, to the day where hours are gone; and says so."""
    costs = await a_fortnight(redis)
    await trimming(redis).step()
    low, high = START_MS + HOUR_MS + 60_000, START_MS + 3 * DAY_MS
    report = await read_cost_report(producer, since=moment(low), until=moment(high))
    assert report.since == moment(START_MS + HOUR_MS)
    assert report.total.cost_nanousd == sum(cost for at, cost in costs.items() if at >= START_MS + HOUR_MS)
    await redis.delete(keys.rolled(f"hour:{moment(START_MS):%Y-%m-%dT%H}"))
    report = await read_cost_report(producer, since=moment(low), until=moment(high))
    assert report.since == moment(START_MS)
    assert report.total.cost_nanousd == sum(costs.values())


async def test_what_is_told_later_counts_at_the_time_of_its_call(
    redis: Redis, producer: Producer, rolling: Rolling
) -> None:
    """A bill of last month changes last month, whether its entries are there or not."""
    first = await add(redis, START_MS, cost=0, uncertain_nanousd=90, kind="unknown")
    await rolling.step()
    was = "1 0 90 1 0 0 0 0 0 0 0 0"
    await add(redis, START_MS + 2 * DAY_MS, cost=40, uncertain_nanousd=0, amends=first, was=was)
    for _ in range(2):
        (line,) = await read_costs(producer)
        assert (line.key, line.calls, line.cost_nanousd, line.uncertain_nanousd) == ("2024-10-04", 1, 40, 0)
        until = moment(START_MS) + timedelta(hours=1)
        assert (await read_cost_report(producer, until=until)).total.cost_nanousd == 40
        await trimming(redis).step()


async def test_an_entry_that_is_none_of_ours_stops_nothing(
    redis: Redis, producer: Producer, worker: HandWorker, rolling: Rolling
) -> None:
    """It counts as a call without a cost; those behind it are summed up."""
    await redis.xadd(keys.LEDGER, {"cost_nanousd": "much", "amends": "nothing", "was": "x y z", "input_tokens": "-"})
    (lease,) = await leases(producer, worker, 1)
    await called(worker, lease, kind="answered", cost=5)
    before = (await read_cost_report(producer)).total
    assert await rolling.step() == (2, 0)
    assert (await read_cost_report(producer)).total == before
    assert (before.cost_nanousd, before.calls) == (5, 2)
