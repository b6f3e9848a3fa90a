"""A provider's bill settles what was in doubt: in the ledger, the budgets and the job, once."""

import json
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock.bills import read_bill
from penstock.costs import read_costs
from penstock.explaining import explain_costs
from penstock.reconciling import Comparison, compare
from penstock.resolving import settle
from penstock_schemas import keys
from penstock_schemas.errors import InvalidRequestError
from penstock_worker.engine.lease import Lease
from penstock_worker.money.rolling import Rolling
from tests.integration.cli.conftest import called, worker
from tests.integration.cli.test_costs import ROW
from tests.support.jobs import HandWorker

__all__ = ["worker"]

SENT_MS = 1_700_000_000_000
"""When :func:`called` says that a call was sent."""
DAY = "2023-11-14"


@pytest.fixture
async def lease(producer: Producer, worker: HandWorker) -> Lease:
    await producer.enqueue(Summarize(text="Words."))
    return await worker.claim_one()


def line(lease: Lease, call: str, **fields: Any) -> dict[str, Any]:
    about = {"call": f"{lease.job_id}:{call}", "model": "gpt-4o-mini", "time": SENT_MS}
    return {**about, "input_tokens": 100, "output_tokens": 20, **fields}


def bill_of(*lines: dict[str, Any]) -> Any:
    return read_bill("bill.jsonl", "".join(json.dumps(row) + "\n" for row in lines).encode())


async def resolved(producer: Producer, bill: Any, **options: Any) -> tuple[Comparison, int, Comparison]:
    """Before, how many were settled, and after; a repeat must settle none."""
    correct = options.pop("correct", False)
    before = await compare(producer, bill, **options)
    settled = await settle(producer, before, correct=correct)
    assert await settle(producer, before, correct=correct) == 0
    return before, settled, await compare(producer, bill, **options)


async def record(redis: Redis, lease: Lease) -> tuple[int, int]:
    row: Any = await redis.hmget(keys.record(lease.job_id), "cost_nanousd", "uncertain_nanousd")  # type: ignore[misc]
    return int(row[0] or 0), int(row[1] or 0)


async def test_calls_in_doubt_become_spent_or_free(
    redis: Redis, producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """As their lines say; one that is not on the bill was not billed. The job follows, and the explanation."""
    await called(worker, lease, "1.1.1", kind="answered", cost=15_010)
    for number in (2, 3, 4):
        await called(worker, lease, f"1.1.{number}", kind="unknown", cost=0, uncertain=5_000_000)
    lines = [line(lease, "1.1.1", cost_usd="0.00001501"), line(lease, "1.1.2", cost_usd="0.00000002")]
    bill = bill_of(*lines, line(lease, "1.1.3", billed=False))
    before, settled, after = await resolved(producer, bill)
    assert [(v.call.entry.call, v.billed, v.why) for v in before.verdicts] == [
        ("1.1.2", True, "by id"),
        ("1.1.3", False, "by id"),
        ("1.1.4", False, "not on the bill"),
    ]
    (group,) = before.groups
    assert (group.day, group.calls, group.bill_calls, group.explained) == (DAY, 4, 2, True)
    assert (settled, after.agrees, after.difference_nanousd) == (3, True, 0)
    assert await record(redis, lease) == (15_030, 0)
    (costs,) = await read_costs(producer)
    assert (costs.calls, costs.cost_nanousd, costs.uncertain_nanousd) == (4, 15_030, 0)
    charges = await explain_costs(producer, lease.job_id)
    assert [call.entry.kind for call in charges.calls] == ["answered", "reconciled", "reconciled", "reconciled"]
    assert charges.calls[1].entry.bill == bill.label
    assert await redis.zcard(keys.DOUBTS) == 0
    assert await redis.xlen(keys.AUDIT) == 1


async def test_a_bill_of_tokens_is_priced_as_the_call_was(
    redis: Redis, producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """By the row that the ledger names, so that the charge can be explained."""
    worker.store.prices.note(ROW)
    await called(worker, lease, "1.1.1", kind="unknown", cost=0, uncertain=5_000_000, price=ROW.digest)
    _, settled, after = await resolved(producer, bill_of(line(lease, "1.1.1", input_tokens=40)))
    assert (settled, after.agrees) == (1, True)
    (call,) = (await explain_costs(producer, lease.job_id)).calls
    assert call.entry.cost_nanousd == 40 * 150 + 10
    assert sum(part.nanousd for part in call.parts) + call.rounding_nanousd == call.entry.cost_nanousd


async def test_budgets_follow_and_a_late_end_changes_nothing_more(
    redis: Redis, producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """What was uncertain in each budget is spent; the worker that was thought dead comes too late."""
    budget = keys.budget("tenant:default", f"day:{DAY}")
    await redis.hset(budget, mapping={"spent": 7, "held": 0, "uncertain": 5_000_000, "tokens_uncertain": 900})  # type: ignore[misc]
    await called(
        worker, lease, "1.1.1", kind="unknown", cost=0, uncertain=5_000_000, budgets=f"tenant:default:day:{DAY}"
    )
    await resolved(producer, bill_of(line(lease, "1.1.1", cost_usd="0.000002")))
    row: Any = await redis.hgetall(budget)  # type: ignore[misc]
    assert {name: int(row[name]) for name in (b"spent", b"uncertain", b"held")} == {
        b"spent": 2_007,
        b"uncertain": 0,
        b"held": 0,
    }
    entries = await redis.xlen(keys.LEDGER)
    await called(worker, lease, "1.1.1", kind="answered", cost=9)
    assert (await redis.xlen(keys.LEDGER), await record(redis, lease)) == (entries, (2_000, 0))


async def test_what_is_long_gone_is_settled_all_the_same(
    redis: Redis, producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """Record and journal past their retention, the entry trimmed: the sums of its day become right."""
    await called(worker, lease, "1.1.1", kind="unknown", cost=0, uncertain=5_000_000)
    await Rolling(worker.batcher).step()
    await redis.delete(keys.record(lease.job_id), keys.journal(lease.job_id))
    await redis.xtrim(keys.LEDGER, maxlen=0)
    _, settled, after = await resolved(producer, bill_of(line(lease, "1.1.1", cost_usd="0.000002")))
    assert (settled, after.agrees) == (1, True)
    (costs,) = await read_costs(producer)
    assert (costs.calls, costs.cost_nanousd, costs.uncertain_nanousd) == (1, 2_000, 0)
    assert await redis.exists(keys.record(lease.job_id), keys.journal(lease.job_id)) == 0


async def test_sums_by_model_and_day_settle_what_they_leave_clear(
    producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """Nothing left: not billed. One call in doubt and a rest it may have cost: that. Else it stays in doubt."""
    await called(worker, lease, "1.1.1", kind="answered", cost=1_000)
    await called(worker, lease, "1.1.2", kind="unknown", cost=0, uncertain=5_000)
    sums = {"date": DAY, "model": "gpt-4o-mini-2024-07-18", "num_model_requests": 2}
    too_much = await compare(producer, bill_of({**sums, "cost_usd": "0.00001"}))
    assert ([call.entry.call for call in too_much.undecided], too_much.verdicts) == (["1.1.2"], [])
    assert not too_much.groups[0].explained
    _, settled, after = await resolved(producer, bill_of({**sums, "cost_usd": "0.000003"}))
    assert (settled, after.agrees) == (1, True)
    (costs,) = await read_costs(producer)
    assert costs.cost_nanousd == 3_000
    await called(worker, lease, "1.1.3", kind="unknown", cost=0, uncertain=5_000)
    await called(worker, lease, "1.1.4", kind="unknown", cost=0, uncertain=5_000)
    assert len((await compare(producer, bill_of({**sums, "cost_usd": "0.000004"}))).undecided) == 2
    _, settled, after = await resolved(producer, bill_of({**sums, "cost_usd": "0.000003"}))
    assert (settled, after.agrees) == (2, True)


async def test_what_was_certain_is_corrected_only_when_asked(
    redis: Redis, producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """Once, whatever comes later."""
    await called(worker, lease, "1.1.1", kind="answered", cost=1_000)
    bill = bill_of(line(lease, "1.1.1", cost_usd="0.000005"))
    before, settled, after = await resolved(producer, bill)
    assert (len(before.corrections), settled, after.agrees, after.difference_nanousd) == (1, 0, False, 4_000)
    _, settled, after = await resolved(producer, bill, correct=True)
    assert (settled, after.agrees) == (1, True)
    assert await record(redis, lease) == (5_000, 0)
    other = bill_of(line(lease, "1.1.1", cost_usd="0.000006"))
    assert (await resolved(producer, other, correct=True))[1] == 0


async def test_lines_and_calls_without_a_counterpart_are_named(
    producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """What the provider charges and the ledger does not know, and the other way round."""
    await called(worker, lease, "1.1.1", kind="answered", cost=1_000)
    await called(worker, lease, "1.1.2", kind="answered", cost=2_000)
    stray = {"request_id": "req_9", "model": "gpt-4o-mini", "time": SENT_MS, "cost_usd": "0.1"}
    found = await compare(producer, bill_of(line(lease, "1.1.1", cost_usd="0.000001"), stray))
    assert [item.request_id for item in found.not_here] == ["req_9"]
    assert [call.entry.call for call in found.not_there] == ["1.1.2"]
    assert found.verdicts == found.corrections == []


async def test_calls_outside_the_bills_time_or_of_another_provider_are_left_alone(
    producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """A bill says nothing of what it does not cover."""
    await called(worker, lease, "1.1.1", kind="answered", cost=1_000)
    await called(worker, lease, "1.1.2", kind="unknown", cost=0, uncertain=9, target="anthropic/haiku")
    await called(worker, lease, "1.1.3", kind="unknown", cost=0, uncertain=9, at_ms=SENT_MS + 1)
    found = await compare(producer, bill_of(line(lease, "1.1.1", cost_usd="0.000001")))
    assert (found.provider, found.verdicts, found.undecided) == ("openai", [], [])


async def test_a_bill_of_nobody_we_know_is_refused(producer: Producer) -> None:
    """Rather than taken for anybody's."""
    with pytest.raises(InvalidRequestError, match="--provider"):
        await compare(producer, bill_of({"date": DAY, "model": "gpt-9", "cost_usd": "1"}))


async def test_the_journal_says_what_the_bill_said(
    redis: Redis, producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """So that a job's cost stays the sum of its calls."""
    await called(worker, lease, "1.1.1", kind="unknown", cost=0, uncertain=5_000)
    await resolved(producer, bill_of(line(lease, "1.1.1", cost_usd="0.000003")))
    end: Any = await redis.hget(keys.journal(lease.job_id), "1.1.1:end")  # type: ignore[misc]
    told = orjson.loads(end.partition(b" ")[2])
    assert (told["cost_nanousd"], told["uncertain_nanousd"]) == (3_000, 0)
