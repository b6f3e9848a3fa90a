"""Explainable cost: every nano-dollar from the call to the row of the price table."""

import asyncio

from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock.explaining import JobCharges, explain_costs
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker
from tests.support.wait import until

FAULTS = ["status", "usage-missing", "cut-body", "usage-huge", "length", "empty", "usage-null", "refusal"]


def check(charges: JobCharges) -> None:
    """Each call's parts and their rounding are its cost, and their sum is the job's."""
    assert charges.calls
    for call in charges.calls:
        assert call.adds_up
        if call.entry.cost_nanousd:
            assert call.parts and call.row is not None and call.row.digest == call.entry.price
            exact = sum(part.nanousd for part in call.parts) + call.rounding_nanousd
            assert exact == call.entry.cost_nanousd and abs(call.rounding_nanousd) < 1
        if call.entry.uncertain_nanousd:
            bound = sum(part.nanousd for part in call.bound)
            assert round(bound) == call.entry.uncertain_nanousd
    assert charges.cost_nanousd == sum(call.entry.cost_nanousd or 0 for call in charges.calls)


async def test_what_is_explained_is_exactly_what_was_charged(
    redis: Redis, producer: Producer, simulator: Simulator, start_worker: StartWorker
) -> None:
    """Answers, failures and absurd usage: sums equal the result's cost, also when the job is gone."""
    start_worker()
    texts = [Summarize(text=f"[[simulate: {fault} times=2]] Mail {n}.") for n, fault in enumerate(FAULTS)]
    texts += [Summarize(text=f"Mail number {n}. It is about the mill.") for n in range(5)]
    jobs = await producer.enqueue_many(texts)
    results = await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))
    before = [await explain_costs(producer, job.id) for job in jobs]
    for charges, result in zip(before, results, strict=True):
        check(charges)
        assert (charges.cost_nanousd, charges.uncertain_nanousd) == (result.cost_nanousd, result.uncertain_nanousd)
        assert charges.recorded_nanousd == result.cost_nanousd
    assert sum(len(charges.calls) for charges in before) == len(simulator.calls())
    await until(lambda: redis.hget(keys.ROLLED, "cursor"), timeout_s=20, what="the ledger summed up")
    for job, charges in zip(jobs, before, strict=True):
        await redis.delete(keys.record(job.id), keys.journal(job.id), keys.request(job.id))
        after = await explain_costs(producer, job.id)
        assert [call.entry for call in after.calls] == [call.entry for call in charges.calls]
        check(after)
