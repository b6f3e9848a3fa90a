"""Equal requests that are there at once, and those that come later: one call, and results that say who paid."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis

from penstock import Classify, JobHandle, Producer
from penstock_schemas import keys
from penstock_schemas.results import Quality
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.wait import until
from tests.support.workers import work_off, working

TEXT = "The mill stands by the river. Its wheel turns day and night. The miller sleeps well, for the sluice holds. " * 3
ASKED = Classify(text=TEXT, labels=["mills and rivers", "dogs"])
Make = Callable[..., Settings]

FLIES = {"single_flight": True}
KEEPS = {"cache_s": 60}


async def test_equal_jobs_at_once_make_one_call(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """A hundred results of one call; one job paid, and all others name it and what it paid."""
    simulator.script(["delay seconds=0.5"])
    batch = await producer.enqueue_many([ASKED] * 100)
    async with working(settings(route=FLIES)):
        results = await asyncio.gather(*(job.result(timeout_s=30) for job in handles(batch)))
    assert len(results) == 100
    assert len(simulator.calls()) == 1
    (paid,) = [result for result in results if result.reused is None]
    assert paid.cost_nanousd
    for result in results:
        assert result.output == paid.output and result.made_by == paid.made_by
        if result is not paid:
            assert result.cache_hit and result.reused and result.calls == 0 and result.cost_nanousd == 0
            assert (result.reused.kind, result.reused.job_id) == ("single_flight", paid.job_id)
            assert result.reused.would_have_cost_nanousd == paid.cost_nanousd


async def test_one_slot_is_enough_to_share(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """Equal jobs that wait in the queue are there at once too; one that comes when all is over makes its own call."""
    await producer.enqueue_many([ASKED] * 10)
    await work_off(settings(route=FLIES, concurrency=1))
    assert len(simulator.calls()) == 1
    await producer.enqueue(ASKED)
    await work_off(settings(route=FLIES, concurrency=1))
    assert len(simulator.calls()) == 2


async def test_jobs_that_wait_for_a_flight_hold_no_slot(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """With two slots, a job of another kind runs beside the flight that nine wait for."""
    simulator.script([{"match": {"contains": "sluice"}, "fault": "hang times=1"}])
    await producer.enqueue_many([ASKED] * 10)
    async with working(settings(route=FLIES, concurrency=2)):
        await until(lambda: simulator.stats().requests == 1)
        other = await producer.enqueue(Classify(text="A dog barks.", labels=["dogs", "cats"]))
        assert (await other.result(timeout_s=20)).state == "succeeded"


async def test_without_a_flight_equal_jobs_make_calls_of_their_own(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Sharing is asked for by the route."""
    await producer.enqueue_many([ASKED] * 5)
    await work_off(settings())
    assert len(simulator.calls()) == 5


async def test_what_differs_makes_no_flight(
    producer: Producer, simulator: Simulator, settings: Make, redis_url: str
) -> None:
    """Another text, other labels, another tenant: four calls."""
    async with Producer.connect(redis_url, tenant="other") as other:
        await producer.enqueue(ASKED)
        await producer.enqueue(Classify(text=TEXT + "!", labels=["mills and rivers", "dogs"]))
        await producer.enqueue(Classify(text=TEXT, labels=["mills", "dogs"]))
        await other.enqueue(ASKED)
        await work_off(settings(route={**FLIES, **KEEPS}))
    assert len(simulator.calls()) == 4


async def test_when_the_leader_fails_another_takes_over(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """The first call fails for good; the others make one more, and share that."""
    simulator.script(["400 times=1"])
    batch = await producer.enqueue_many([ASKED] * 6, on_failure="dead_letter")
    async with working(settings(route=FLIES)):
        jobs = handles(batch)
        await until(lambda: _over(jobs), timeout_s=30)
        states = [(await job.status()).state for job in jobs]
    assert sorted(states) == ["dead", *["succeeded"] * 5]
    assert len(simulator.calls()) == 2


async def test_when_the_leader_is_cancelled_another_takes_over(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Nobody waits for an answer that will not come."""
    simulator.script(["hang times=1"])
    batch = await producer.enqueue_many([ASKED] * 3)
    jobs = handles(batch)
    async with working(settings(route=FLIES)):
        await until(lambda: simulator.stats().requests == 1)
        states = [await job.status() for job in jobs]
        (leader,) = [job for job, status in zip(jobs, states, strict=True) if status.calls == 1]
        await leader.cancel()
        results = [await job.result(timeout_s=30) for job in jobs if job is not leader]
    assert len(results) == 2
    assert len(simulator.calls()) == 2


async def test_an_answer_is_kept_for_equal_requests(
    producer: Producer, simulator: Simulator, settings: Make, redis: Redis
) -> None:
    """The second job makes no call; its result says whose answer it is and what it would have cost."""
    first = await producer.enqueue(ASKED)
    await work_off(settings(route=KEEPS))
    second = await producer.enqueue(ASKED)
    await work_off(settings(route=KEEPS))
    paid, got = await first.result(timeout_s=30), await second.result(timeout_s=30)
    assert len(simulator.calls()) == 1
    assert got.output == paid.output and got.cost_nanousd == 0 and got.calls == 0 and got.usage.total_tokens is None
    assert got.cache_hit and got.reused and got.reused.kind == "cache" and got.reused.job_id == first.id
    assert got.reused.would_have_cost_nanousd == paid.cost_nanousd and not paid.cache_hit
    (kept,) = [name async for name in redis.scan_iter(keys.cache("acme", "*"))]
    assert 0 < await redis.pttl(kept) <= 60_000


async def test_another_tenant_misses(producer: Producer, simulator: Simulator, settings: Make, redis_url: str) -> None:
    """An answer is of one tenant."""
    async with Producer.connect(redis_url, tenant="other") as other:
        await producer.enqueue(ASKED)
        await work_off(settings(route=KEEPS))
        job = await other.enqueue(ASKED)
        await work_off(settings(route=KEEPS))
        assert not (await job.result(timeout_s=30)).cache_hit
    assert len(simulator.calls()) == 2


async def test_a_degraded_answer_is_not_kept(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """Once the provider is well again, it is asked."""
    simulator.script(["400 times=1"])
    degraded = await producer.enqueue(ASKED)
    await work_off(settings(route={**KEEPS, **FLIES}))
    real = await producer.enqueue(ASKED)
    await work_off(settings(route={**KEEPS, **FLIES}))
    assert (await degraded.result(timeout_s=30)).state == "degraded"
    assert (await real.result(timeout_s=30)).quality is Quality.OK
    assert len(simulator.calls()) == 2


async def test_what_cannot_be_read_is_as_if_it_were_not_there(
    producer: Producer, simulator: Simulator, settings: Make, redis: Redis
) -> None:
    """Somebody wrote under the cache's key: a call is made, and the answer takes the place."""
    await producer.enqueue(ASKED)
    await work_off(settings(route=KEEPS))
    (kept,) = [name async for name in redis.scan_iter(keys.cache("acme", "*"))]
    await redis.set(kept, b"\x80\x04junk")
    job = await producer.enqueue(ASKED)
    await work_off(settings(route=KEEPS))
    assert not (await job.result(timeout_s=30)).cache_hit
    assert (await redis.get(kept)).startswith(b"{")


async def test_a_streaming_job_makes_a_call_of_its_own(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """It was asked for the text as it comes."""
    for _ in range(2):
        await producer.enqueue(ASKED, stream=True)
        await work_off(settings(route={**KEEPS, **FLIES}))
    assert len(simulator.calls()) == 2


def handles(batch: Sequence[object]) -> list[JobHandle[Any]]:
    """The jobs of a batch in which nothing was refused."""
    jobs = [each for each in batch if isinstance(each, JobHandle)]
    assert len(jobs) == len(batch)
    return jobs


async def _over(jobs: list[JobHandle[Any]]) -> bool:
    return all([(await job.status()).state.terminal for job in jobs])
