"""Thousands of jobs in a few round trips, and a report for each."""

import pytest
from redis.asyncio import Redis

from penstock import (
    EnqueueManyError,
    IdempotencyConflictError,
    JobState,
    Limits,
    Producer,
    QueueFullError,
    Summarize,
)
from penstock_schemas import keys
from tests.support.jobs import HandWorker


async def test_thousands_go_out_in_a_few_round_trips(producer: Producer, redis: Redis, worker: HandWorker) -> None:
    """Five thousand, in order, each a job of its own that runs."""
    texts = [f"Text {n}." for n in range(5_000)]
    await producer.enqueue(Summarize(text="The script is known from here on."))
    before = producer.batcher.round_trips
    jobs = await producer.enqueue_many([Summarize(text=text) for text in texts], lane="bulk", max_attempts=2)
    assert producer.batcher.round_trips - before <= 12
    assert len({job.id for job in jobs}) == 5_000
    assert int(await redis.hget(keys.COUNTS, "open")) == 5_001  # type: ignore[misc]
    for n in (0, 4_999):
        request = await jobs[n].request()
        assert (request.input["text"], request.lane, request.max_attempts) == (texts[n], "bulk", 2)
    assert await worker.work_off() == 5_001
    assert (await jobs[-1].status()).state is JobState.SUCCEEDED


async def test_none_is_none(producer: Producer) -> None:
    """Nothing to send, nothing sent."""
    assert await producer.enqueue_many([]) == []
    assert producer.batcher.calls == 0


async def test_large_texts_are_sent_in_batches_that_pass_a_slow_line(producer: Producer) -> None:
    """The bytes of a batch are bounded, not only its calls."""
    await producer.enqueue(Summarize(text="warm"))
    before = producer.batcher.round_trips
    await producer.enqueue_many([Summarize(text="x" * 200_000) for _ in range(100)])
    assert producer.batcher.round_trips - before >= 5


async def test_known_keys_give_their_jobs(producer: Producer) -> None:
    """Old and new ones in one call; a key twice in one call is one job."""
    first = await producer.enqueue(Summarize(text="A"), idempotency_key="a")
    jobs = await producer.enqueue_many(
        [Summarize(text="A"), Summarize(text="B"), Summarize(text="B"), Summarize(text="C")],
        idempotency_keys=["a", "b", "b", None],
    )
    assert jobs[0].id == first.id
    assert jobs[1].id == jobs[2].id
    assert [job.created for job in jobs] == [False, True, False, True]


async def test_what_redis_refuses_is_told_for_each_and_the_rest_is_accepted(redis_url: str) -> None:
    """A conflict and a full queue refuse their own items only."""
    async with Producer.connect(redis_url, limits=Limits(queued_jobs=3)) as producer:
        known = await producer.enqueue(Summarize(text="known"), idempotency_key="k")
        with pytest.raises(EnqueueManyError) as refusal:
            await producer.enqueue_many(
                [Summarize(text=str(n)) for n in range(5)], idempotency_keys=[None, "k", None, None, None]
            )
        jobs, errors = refusal.value.jobs, refusal.value.errors
        assert [job is not None for job in jobs] == [True, False, True, False, False]
        assert {i: type(error) for i, error in errors.items()} == {
            1: IdempotencyConflictError,
            3: QueueFullError,
            4: QueueFullError,
        }
        assert known.id in str(errors[1])
        assert jobs[2] is not None
        assert (await jobs[2].status()).state is JobState.QUEUED
