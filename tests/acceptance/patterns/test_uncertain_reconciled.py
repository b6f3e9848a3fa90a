"""Uncertain spend reconciled: unknown outcomes are injected, a bill is imported, and the difference is nothing."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock.bills import read_bill
from penstock.costs import read_cost_report
from penstock.money_audit import audit_money
from penstock.reconciling import compare
from penstock.resolving import settle
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

CUT = ["cut-lost", "cut-middle", "cut-last", "usage-missing", "hang-headers"]
EVER = datetime(2020, 1, 1, tzinfo=UTC)
LIMITS = {"connect_s": 5.0, "first_content_s": 1.0, "content_idle_s": 1.0, "whole_call_s": 2.0}


async def test_a_bill_settles_every_unknown_outcome(
    redis: Redis, producer: Producer, simulator: Simulator, start_worker: StartWorker, bill: Path
) -> None:
    """A worker is killed with calls open, answers are lost and cut; then the ledger is the bill, in every book."""
    budgets = {"global": {"month_usd": "1000"}}
    options: dict[str, Any] = {"budgets": budgets, "breaker": False}
    simulator.script(["hang times=3"])
    first = start_worker(concurrency=3, **options)
    texts = [f"[[simulate: {fault} times=1]] Mail {n}." for n, fault in enumerate(CUT)]
    jobs = await producer.enqueue_many([Summarize(text=text) for text in [*["A mail."] * 3, *texts]])
    await simulator.until(lambda stats: stats.in_flight == 3)
    first.kill()
    start_worker(limits=LIMITS, **options)
    await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))
    before = (await read_cost_report(producer)).total
    assert before.uncertain_calls >= 3 + 4
    assert before.uncertain_nanousd > 0
    file = read_bill(bill.name, bill.read_bytes())  # noqa: ASYNC240 - some kilobytes
    found = await compare(producer, file, since=EVER, until=datetime.now(UTC))
    assert await settle(producer, found) >= before.uncertain_calls
    after = await compare(producer, file, since=EVER, until=datetime.now(UTC))
    assert (after.agrees, after.difference_nanousd) == (True, 0)
    total = (await read_cost_report(producer)).total
    assert (total.uncertain_nanousd, total.calls) == (0, before.calls)
    (name,) = [key async for key in redis.scan_iter(match=keys.budget("global", "*"))]
    row: Any = await redis.hmget(name, "spent", "uncertain", "held")  # type: ignore[misc]
    assert [int(value) for value in row] == [total.cost_nanousd, 0, 0]
    assert await settle(producer, found) == 0
    audit = await audit_money(producer.link)
    assert [*audit.ledger.faults, *audit.budgets.faults, *audit.jobs.faults, *audit.calls.faults] == []
