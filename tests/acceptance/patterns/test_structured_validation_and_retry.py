"""Structured validation and retry: fifty broken payloads and more, each to its expected state and attempt count."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from penstock import Producer
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker
from tests.integration.attempt.answers import CORPUS
from tests.integration.attempt.test_answers import answered, enqueued, faults
from tests.integration.attempt.test_corpus import bill_of, ledger_of
from tests.support.wait import until


@pytest.fixture
async def simulator(bill: Path) -> AsyncIterator[Simulator]:
    """A model that says what the corpus says."""
    async with Simulator(bill=bill, answers=answered) as simulator:
        yield simulator


async def test_fifty_broken_payloads(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """By a whole worker: strict parse, small repairs, one question more, the next attempt, an honest end."""
    rows = CORPUS["extract"]
    assert len(rows) >= 50
    start_worker(concurrency=50, breaker=False, route={"max_output_tokens": 3_000})
    jobs = {name: await enqueued(producer, "extract", name, row, stream=False) for name, row in rows.items()}

    async def all_ended() -> bool:
        return bool(await redis.hget("penstock:counts", "open") == b"0")  # type: ignore[misc]

    await until(all_ended, 60)
    ledger, bill = await ledger_of(redis), bill_of(simulator)
    wrong = []
    for name, job in jobs.items():
        told = faults(rows[name], await job.status(), ledger.get(job.id, []), bill.get(job.id, []))
        wrong += [f"{name}: {fault}" for fault in told]
    assert wrong == []
