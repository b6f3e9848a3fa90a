"""Priorities: which of a tenant's jobs goes first, and that a job keeps its own whatever happens to it."""

from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import InvalidRequestError, JobState, Producer, Summarize
from penstock.dead_letters import DeadLetters
from penstock_schemas import keys
from tests.support.jobs import HandWorker


async def test_the_more_urgent_job_is_started_first(producer: Producer, worker: HandWorker) -> None:
    """Whichever was enqueued first; the status says it, and one that is not named is in the middle."""
    urgent, usual, idle = 9, None, 0
    jobs = {p: await producer.enqueue(Summarize(text="A"), **_options(p)) for p in (idle, usual, urgent)}
    started = [(await worker.claim_one()).job_id for _ in jobs]
    assert started == [jobs[p].id for p in (urgent, usual, idle)]
    assert [(await jobs[p].status()).priority for p in (urgent, usual, idle)] == [9, 4, 0]


async def test_a_job_keeps_its_priority(producer: Producer, redis: Redis, worker: HandWorker) -> None:
    """When it is retried, and when it is replayed; a cancel finds it."""
    job = await producer.enqueue(Summarize(text="A"), priority=7)
    lease = await worker.claim_one()
    assert lease.queue == keys.queue("standard", "acme", 7)
    assert await worker.store.reschedule(lease, delay_s=0.0, charged=True, attempt=None, reason="retry")
    assert await redis.zscore(keys.queue("standard", "acme", 7), job.id) is not None
    await worker.bury(await worker.claim_one())
    assert [outcome.refused async for outcome in DeadLetters(producer).replay([job.id])] == [None]
    assert await redis.zscore(keys.queue("standard", "acme", 7), job.id) is not None
    assert await job.cancel() is JobState.QUEUED
    assert await redis.exists(keys.queue("standard", "acme", 7)) == 0


@pytest.mark.parametrize("priority", [-1, 10, 4.5, "4", True])
async def test_a_priority_that_is_none_is_refused(producer: Producer, redis: Redis, priority: Any) -> None:
    """By its name, and nothing is written."""
    with pytest.raises(InvalidRequestError) as refused:
        await producer.enqueue(Summarize(text="A"), priority=priority)
    assert refused.value.field == "priority"
    assert await redis.dbsize() == 0


def _options(priority: int | None) -> Any:
    return {} if priority is None else {"priority": priority}
