"""Abort: a cancel in mid-stream closes the provider's connection, settles what was held, and ends as cancelled."""

import pytest
from redis.asyncio import Redis

from penstock import JobCancelledError, Producer, Summarize
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker


async def test_a_cancel_in_mid_stream(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """Deltas have come; the call may have been billed, so its hold becomes uncertain, and nothing stays held."""
    simulator.script(["slow-events every=300ms"])
    start_worker(budgets={"global": {"day_usd": "5.00"}})
    job = await producer.enqueue(Summarize(text="The mill stands by the river. " * 20), stream=True)
    async for event in job.events():
        if event.type == "delta":
            break
    assert await job.cancel() == "running"
    await simulator.until(lambda stats: stats.disconnects == 1)
    with pytest.raises(JobCancelledError):
        await job.result(timeout_s=30)
    (budget,) = [name async for name in redis.scan_iter(keys.budget("global", "day:*"))]
    row = await redis.hgetall(budget)  # type: ignore[misc]
    (entry,) = [fields for _, fields in await redis.xrange(keys.LEDGER)]
    assert int(row.get(b"held", 0)) == 0
    assert int(row[b"uncertain"]) == int(entry[b"uncertain_nanousd"]) > 0
    assert (await job.status()).state == "cancelled"
