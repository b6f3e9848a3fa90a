"""Workers and a provider in trouble: what reaches it, and what becomes of the jobs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Classify, JobDeadError, JobHandle, Producer
from penstock_schemas import keys
from penstock_simulator.bill import BilledCall
from penstock_simulator.simulator import Simulator
from penstock_store.server import free_port
from penstock_worker.attempt.attempt import CALLS_PER_ATTEMPT
from penstock_worker.settings import Settings
from tests.support.wait import until
from tests.support.workers import worker_settings, working

MODEL, OTHER = "openai/gpt-4o-mini", "openai/gpt-4o"
QUICK = {"open_s": 0.5, "max_open_s": 1.0, "access_open_s": 0.5, "max_access_open_s": 1.0, "ramp_s": 5.0}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A provider without latency."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    async with Producer.connect(redis_url) as producer:
        yield producer


def asks(count: int) -> list[Classify]:
    return [Classify(text=f"mail {number}", labels=["billing", "bug"]) for number in range(count)]


def settings_of(redis_url: str, simulator: Simulator, **options: Any) -> Settings:
    return worker_settings(redis_url, simulator.base_url, **{"breaker": QUICK, "concurrency": 20, **options})


async def settled(jobs: Sequence[JobHandle[Any]]) -> list[Any]:
    return list(await asyncio.gather(*(job.result(timeout_s=60) for job in jobs)))


async def parked(redis: Redis, count: int) -> None:
    """Wait until so many jobs wait for a time to come."""

    async def scheduled() -> bool:
        return int(await redis.hget(keys.COUNTS, "scheduled") or 0) >= count  # type: ignore[misc]

    await until(scheduled, timeout_s=20, what=f"{count} scheduled jobs")


def to(calls: list[BilledCall], target: str) -> list[BilledCall]:
    return [call for call in calls if call.model == target.split("/")[1]]


async def test_a_throttle_holds_all_workers_until_the_time_it_states(
    redis_url: str, simulator: Simulator, producer: Producer
) -> None:
    """200 jobs, two workers, Retry-After of 2 s: what is under way comes in, and then nothing before the time.

    No attempt is charged, and they come back few at first.
    """
    simulator.script(["429 retry-after=2 times=40"])
    settings = settings_of(redis_url, simulator)
    async with working(settings), working(settings):
        results = await settled(await producer.enqueue_many(asks(200)))
    assert {result.attempts for result in results} == {1}
    calls = sorted(simulator.calls(), key=lambda call: call.started_at_ms)
    throttled = [call for call in calls if call.status == 429]
    rest = [
        call.started_at_ms for call in calls if call.status == 200 and call.started_at_ms > throttled[0].started_at_ms
    ]
    first_wave = [call for call in throttled if call.started_at_ms < throttled[0].started_at_ms + 1_000]
    told_at_ms = max(call.started_at_ms for call in first_wave)
    later = [call.started_at_ms for call in calls if call.started_at_ms > told_at_ms]
    assert min(later) >= throttled[0].started_at_ms + 2_000 - 50
    assert min(later) - told_at_ms >= 2_000 - 50
    assert len(rest) == 200


async def test_only_the_throttled_target_is_held(redis_url: str, simulator: Simulator, producer: Producer) -> None:
    """The next of the route is asked instead, in the same attempt, and the held one no more."""
    simulator.script([{"fault": "429 retry-after=60", "match": {"model": "gpt-4o-mini"}}])
    async with working(settings_of(redis_url, simulator, targets=(MODEL, OTHER), concurrency=1)):
        results = await settled(await producer.enqueue_many(asks(20)))
    assert {result.made_by.name for result in results} == {OTHER}
    assert len(to(simulator.calls(), MODEL)) == 1


async def test_an_outage_makes_few_calls_and_loses_no_job(
    redis_url: str, redis: Redis, simulator: Simulator, producer: Producer
) -> None:
    """300 jobs wait; those under way fail, then only probes are sent, and all succeed when it is over."""
    simulator.script(["500"])
    settings = settings_of(redis_url, simulator, concurrency=10)
    async with working(settings), working(settings):
        jobs = await producer.enqueue_many(asks(300))
        await parked(redis, 300)
        await until(lambda: len(simulator.calls()) >= 26, timeout_s=20, what="two rounds of probes")
        during = len(simulator.calls())
        simulator.script([])
        results = await settled(jobs)
    assert during <= 20 + 4 * 3
    assert {result.state for result in results} == {"succeeded"}
    assert max(result.attempts for result in results) <= 2
    assert len(simulator.calls()) <= during + 3 + 300


async def test_nobody_there_is_an_outage_too(redis_url: str, redis: Redis, producer: Producer) -> None:
    """Refused connections open the breaker; the jobs wait and succeed when somebody listens again."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}/v1"
    async with working(worker_settings(redis_url, base_url, breaker=QUICK, concurrency=20)):
        jobs = await producer.enqueue_many(asks(60))
        await parked(redis, 60)
        async with Simulator(port=port) as simulator:
            results = await settled(jobs)
            assert len(simulator.calls()) == 60
    assert {result.state for result in results} == {"succeeded"}


async def test_a_hundred_at_half_open_send_exactly_the_probes(
    redis_url: str, redis: Redis, simulator: Simulator, producer: Producer
) -> None:
    """Two workers with room for all: three calls, however long these take."""
    ready = Redis.from_url(redis_url)
    await ready.hset(keys.breaker(MODEL), mapping={"state": "open", "until": 1, "repeats": 1})
    simulator.script(["hang"])
    settings = settings_of(redis_url, simulator, concurrency=100)
    async with working(settings), working(settings):
        await producer.enqueue_many(asks(100))
        await parked(redis, 97)
        await simulator.until(lambda stats: stats.in_flight == 3)
        assert len(simulator.calls()) == 3
    await ready.aclose()


async def test_a_lonely_job_survives_an_outage_longer_than_its_attempts_and_its_envelope(
    redis_url: str, simulator: Simulator, producer: Producer
) -> None:
    """A failed probe is no failure of the job that made it: it is charged neither an attempt nor a call."""
    simulator.script(["503 times=12"])
    breaker = {**QUICK, "all_failed_calls": 1, "open_s": 0.02, "max_open_s": 0.05, "probes": 1}
    async with working(worker_settings(redis_url, simulator.base_url, breaker=breaker)):
        job = await producer.enqueue(asks(1)[0], max_attempts=2)
        result = await job.result(timeout_s=60)
    assert (result.attempts, result.calls) == (2, 13)
    assert 2 * CALLS_PER_ATTEMPT < 13


async def test_an_empty_account_parks_the_rest(
    redis_url: str, redis: Redis, simulator: Simulator, producer: Producer
) -> None:
    """Those that met it first are told so; the others wait, over all models of the account, until it is filled."""
    simulator.script(["quota"])
    settings = settings_of(redis_url, simulator, targets=(MODEL, OTHER), concurrency=1)
    async with working(settings):
        jobs = await producer.enqueue_many(asks(20), on_failure="dead_letter")
        await parked(redis, 19)
        assert len(simulator.calls()) <= 3
        simulator.script([])
        ends = await asyncio.gather(*(job.result(timeout_s=30) for job in jobs), return_exceptions=True)
    assert sum(isinstance(end, JobDeadError) for end in ends) <= 1


async def test_a_job_whose_deadline_is_before_the_reopening_does_not_wait(
    redis_url: str, redis: Redis, simulator: Simulator, producer: Producer
) -> None:
    """It gets its fallback, or is dead, at once and without a call."""
    now_s, _ = await redis.time()
    await redis.hset(  # type: ignore[misc]
        keys.breaker(MODEL), mapping={"state": "open", "until": (now_s + 600) * 1000, "repeats": 1}
    )
    async with working(settings_of(redis_url, simulator)):
        degraded = await producer.enqueue(asks(1)[0], deadline_s=60)
        dead = await producer.enqueue(asks(2)[1], deadline_s=60, on_failure="dead_letter")
        result = await degraded.result(timeout_s=30)
        with pytest.raises(JobDeadError) as caught:
            await dead.result(timeout_s=30)
    assert result.state == "degraded"
    assert result.failure is not None
    assert (result.failure.code, result.failure.last_error) == ("deadline_exceeded", "breaker_open")
    assert "deadline_exceeded" in str(caught.value)
    assert simulator.calls() == []


async def test_calls_in_flight_are_limited_over_all_workers(redis_url: str, redis: Redis, producer: Producer) -> None:
    """Two workers with 20 places each never have more than 3 calls under way, and none of their slots is left."""
    async with Simulator(latency="20ms") as simulator:
        settings = settings_of(redis_url, simulator)
        limited = settings.providers["openai"].model_copy(update={"max_in_flight": 3})
        settings = settings.model_copy(update={"providers": {"openai": limited}})
        async with working(settings), working(settings):
            results = await settled(await producer.enqueue_many(asks(60)))
        assert simulator.stats().max_in_flight == 3
    assert {result.attempts for result in results} == {1}
    assert await redis.exists(keys.slots(MODEL)) == 0


async def test_requests_per_minute_are_limited_over_all_workers(
    redis_url: str, redis: Redis, simulator: Simulator, producer: Producer
) -> None:
    """1,200 a minute: of 60 jobs a second's worth starts at once, and the rest 50 ms apart."""
    settings = settings_of(redis_url, simulator)
    limited = settings.providers["openai"].model_copy(update={"requests_per_min": 1_200})
    settings = settings.model_copy(update={"providers": {"openai": limited}})
    async with working(settings), working(settings):
        await settled(await producer.enqueue_many(asks(60)))
    at_ms = sorted(int(entry[b"sent_at_ms"]) for _, entry in await redis.xrange(keys.LEDGER))
    assert len(at_ms) == len(simulator.calls()) == 60
    assert at_ms[-1] - at_ms[0] >= (60 - 22) * 50
