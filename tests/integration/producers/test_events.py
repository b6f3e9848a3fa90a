"""A job's events: in order, resumable, each once, and an error where some are gone."""

import asyncio
import random

import pytest
from redis.asyncio import Redis

from penstock import Event, EventsLostError, InvalidRequestError, JobHandle, Producer, Summarize, Summary
from penstock.dead_letters import DeadLetters
from penstock_schemas import keys
from tests.support.jobs import HandWorker
from tests.support.wait import until

Job = JobHandle[Summary]


@pytest.fixture(autouse=True)
def nobody_looks_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is woken, or these tests end by their time limit: there is no look for safety."""
    monkeypatch.setattr("penstock.handle.SAFETY_S", 3_600.0)


async def collect(job: Job, after: str | None = None) -> list[Event]:
    """All events until the end."""
    return [event async for event in job.events(after=after)]


async def test_events_come_in_order_and_end_with_the_end(producer: Producer, worker: HandWorker) -> None:
    """As they happen, and the same again afterwards."""
    job = await producer.enqueue(Summarize(text="A"), stream=True)
    listening = asyncio.create_task(collect(job))
    lease = await worker.claim_one()
    await worker.delta(lease, "Sho")
    await worker.delta(lease, "rt.")
    await worker.succeed(lease)
    events = await listening
    assert [event.type for event in events] == ["queued", "running", "delta", "delta", "succeeded"]
    assert "".join(event.data["text"] for event in events if event.type == "delta") == "Short."
    assert events[-1].terminal
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert await collect(job) == events
    assert await collect(job, after=events[1].id) == events[2:]
    assert await collect(job, after=events[-1].id) == []


async def test_a_hundred_subscribers_that_drop_and_return_miss_nothing_and_see_nothing_twice(
    producer: Producer, redis: Redis, worker: HandWorker
) -> None:
    """They drop at random, connections are killed under them, some come when all is over."""
    job = await producer.enqueue(Summarize(text="A"), stream=True)
    lease = await worker.claim_one()
    dice = random.Random(31)

    async def subscriber() -> list[Event]:
        seen: list[Event] = []
        while not (seen and seen[-1].terminal):
            stay = dice.randint(1, 40)
            async for event in job.events(after=seen[-1].id if seen else None):
                seen.append(event)
                stay -= 1
                if not stay:
                    break
        return seen

    subscribers = [asyncio.create_task(subscriber()) for _ in range(100)]
    for n in range(120):
        await worker.delta(lease, str(n))
        if n % 60 == 30:
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await worker.succeed(lease)
    late = [asyncio.create_task(subscriber()) for _ in range(10)]
    truth = [entry_id.decode() for entry_id, _ in await redis.xrange(keys.events(job.id))]
    assert len(truth) == 123
    async with asyncio.timeout(60):
        for seen in await asyncio.gather(*subscribers, *late):
            assert [event.id for event in seen] == truth


async def test_events_that_were_trimmed_are_told_as_lost(producer: Producer, redis: Redis, worker: HandWorker) -> None:
    """To whoever comes back with an id before the oldest kept; a new subscriber gets what there is."""
    job = await producer.enqueue(Summarize(text="A"), stream=True)
    lease = await worker.claim_one()
    first = (await redis.xrange(keys.events(job.id), count=1))[0][0].decode()
    for n in range(5):
        await worker.delta(lease, str(n))
    await worker.succeed(lease)
    await redis.xtrim(keys.events(job.id), maxlen=2, approximate=False)
    with pytest.raises(EventsLostError) as lost:
        await collect(job, after=first)
    assert (lost.value.job_id, lost.value.after) == (job.id, first)
    kept = await collect(job)
    assert [event.type for event in kept] == ["delta", "succeeded"]
    assert await collect(job, after=kept[0].id) == kept[1:]


async def test_events_trimmed_behind_a_slow_reader_are_told_as_lost(
    producer: Producer, redis: Redis, worker: HandWorker
) -> None:
    """It is not only who comes back that may have missed some."""
    job = await producer.enqueue(Summarize(text="A"), stream=True)
    events = job.events()
    assert (await anext(events)).type == "queued"
    lease = await worker.claim_one()
    await asyncio.gather(*(worker.delta(lease, str(n)) for n in range(1_500)))
    await redis.xtrim(keys.events(job.id), maxlen=700, approximate=False)
    with pytest.raises(EventsLostError):
        async for _ in events:
            pass


async def test_a_stream_that_is_gone_is_told_as_lost(producer: Producer, redis: Redis) -> None:
    """The record is there, the events are not."""
    job = await producer.enqueue(Summarize(text="A"))
    await redis.delete(keys.events(job.id))
    with pytest.raises(EventsLostError):
        await collect(job, after="1-1")


@pytest.mark.parametrize("after", ["x", "1-", "-1", "1-2-3", " 1-1", "1_0-1", "٣-1", f"{2**64}-0", "1" * 30])
async def test_what_is_no_event_id_is_refused(producer: Producer, after: str) -> None:
    """Before anything is asked of Redis."""
    job = producer.job("0" * 32)
    with pytest.raises(InvalidRequestError, match="after"):
        await collect(job, after=after)
    assert producer.batcher.calls == 0


async def test_a_subscriber_that_waits_is_woken_after_a_killed_connection(
    producer: Producer, redis: Redis, worker: HandWorker
) -> None:
    """What was told while nobody listened is read when the subscription is back."""
    job = await producer.enqueue(Summarize(text="A"))
    listening = asyncio.create_task(collect(job))
    await until(lambda: producer.watcher.listening(keys.events(job.id)))
    await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await worker.succeed(await worker.claim_one())
    async with asyncio.timeout(30):
        assert [event.type for event in await listening] == ["queued", "running", "succeeded"]


async def test_a_closed_subscription_leaves_its_channel(producer: Producer) -> None:
    """Whoever stops reading, by break and aclose, is forgotten."""
    job = await producer.enqueue(Summarize(text="A"))
    events = job.events()
    await anext(events)
    assert keys.events(job.id) in producer.watcher.channels()
    await events.aclose()
    assert producer.watcher.channels() == set()


async def replay(producer: Producer, job: Job) -> None:
    """Run the dead job again."""
    outcomes = [outcome async for outcome in DeadLetters(producer).replay([job.id])]
    assert [outcome.refused for outcome in outcomes] == [None]


async def test_a_replay_is_one_story_with_the_run_before(producer: Producer, worker: HandWorker) -> None:
    """The end of an earlier run is passed through; the end of the newest is the end."""
    job = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
    await worker.bury(await worker.claim_one())
    first = await collect(job)
    assert first[-1].type == "dead"

    await replay(producer, job)
    listening = [asyncio.create_task(collect(job)), asyncio.create_task(collect(job, after=first[-1].id))]
    await until(lambda: producer.watcher.listening(keys.events(job.id)))
    await worker.succeed(await worker.claim_one())
    whole, second = await asyncio.gather(*listening)
    assert whole == first + second
    assert [(event.type, event.run) for event in second] == [("queued", 2), ("running", 2), ("succeeded", 2)]
    result = await job.result()
    assert (result.run, result.state) == (2, "succeeded")
    same = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
    assert (same.id, same.created) == (job.id, False)
