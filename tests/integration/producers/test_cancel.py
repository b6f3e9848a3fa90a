"""Cancelling a job in every state it can be in."""

import asyncio

import pytest
from redis.asyncio import Redis

from penstock import JobCancelledError, JobState, Producer, Summarize
from penstock_schemas import keys
from tests.support.jobs import HandWorker, dump


@pytest.mark.parametrize("delay_s", [0, 60])
async def test_a_waiting_job_is_cancelled_at_once(
    producer: Producer, redis: Redis, worker: HandWorker, delay_s: float
) -> None:
    """Whoever waits is told, no worker gets it, and a repeat finds it cancelled."""
    job = await producer.enqueue(Summarize(text="A"), delay_s=delay_s)
    waiting = asyncio.create_task(job.result())
    assert await job.cancel() is (JobState.SCHEDULED if delay_s else JobState.QUEUED)
    with pytest.raises(JobCancelledError) as cancelled:
        await waiting
    assert cancelled.value.job_id == job.id
    assert (await job.status()).state is JobState.CANCELLED
    assert [event.type async for event in job.events()][-1] == "cancelled"
    assert await worker.claim() == []

    before = await dump(redis)
    assert await job.cancel() is JobState.CANCELLED
    assert await dump(redis) == before
    assert int(await redis.hget(keys.COUNTS, "open")) == 0  # type: ignore[misc]


async def test_a_running_job_is_ended_by_its_worker(producer: Producer, redis: Redis, worker: HandWorker) -> None:
    """The cancel is noted where the worker's heartbeat looks; the worker's end is the end."""
    job = await producer.enqueue(Summarize(text="A"))
    lease = await worker.claim_one()
    assert await job.cancel() is JobState.RUNNING
    assert await job.cancel() is JobState.RUNNING
    assert await redis.zscore(keys.ARQ_ABORT, job.id) is not None
    assert (await job.status()).state is JobState.RUNNING
    await worker.end(lease, "cancelled")
    with pytest.raises(JobCancelledError):
        await job.result()


async def test_a_finished_job_stays_as_it_is(producer: Producer, redis: Redis, worker: HandWorker) -> None:
    """A cancel that comes too late says so and changes nothing."""
    job = await producer.enqueue(Summarize(text="A"))
    await worker.succeed(await worker.claim_one())
    before = await dump(redis)
    assert await job.cancel() is JobState.SUCCEEDED
    assert await dump(redis) == before
    assert (await job.result()).state == "succeeded"
