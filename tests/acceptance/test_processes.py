"""Workers killed, stopped and left without Redis in the middle of their work."""

import asyncio
import random
from collections.abc import Callable

from redis.asyncio import Redis

from penstock import Classify, Extract, Producer, Summarize
from penstock_schemas import keys
from penstock_schemas.tasks import TaskInput
from penstock_simulator.simulator import Simulator
from penstock_store.server import RedisServer
from tests.acceptance.conftest import StartWorker
from tests.support.wait import until

SCHEMA = {"type": "object", "properties": {"total": {"type": ["number", "null"]}}, "required": ["total"]}


def demo_sized(count: int) -> list[TaskInput[object]]:
    """Jobs of the three tasks on texts that differ."""
    jobs: list[TaskInput[object]] = []
    for n in range(count):
        text = f"Letter {n}. The invoice of the mill is wrong: its total is {n}.50 EUR. Please send a new one."
        kinds = (
            Summarize(text=text),
            Classify(text=text, labels=["billing", "bug"]),
            Extract(text=text, schema=SCHEMA),
        )
        jobs.append(kinds[n % 3])  # type: ignore[arg-type]
    return jobs


async def test_a_worker_killed_while_answers_come_in_buys_none_of_them_twice(
    redis: Redis, producer: Producer, simulator: Simulator, start_worker: StartWorker, faults: Callable[..., list[str]]
) -> None:
    """What was in the ledger at its death is used by the next; only calls still open may be made again."""
    simulator.script(["delay seconds=0.5"])
    jobs = await producer.enqueue_many(demo_sized(6))
    first = start_worker()
    await simulator.until(lambda stats: stats.in_flight == 6)
    await until(lambda: redis.xlen(keys.LEDGER), what="an answer in the ledger")
    first.kill()
    paid = await redis.xlen(keys.LEDGER)
    second = start_worker()
    await asyncio.gather(*(job.result(timeout_s=20) for job in jobs))
    second.terminate()
    assert await second.ended() == 0
    assert 6 <= len(simulator.calls()) <= 6 + (6 - paid)
    assert faults([job.id for job in jobs]) == []


async def test_kills_at_random_lose_nothing_and_double_nothing(
    redis: Redis,
    producer: Producer,
    simulator: Simulator,
    start_worker: StartWorker,
    faults: Callable[..., list[str]],
) -> None:
    """Five workers die one after the other in the middle of sixty jobs; each call beyond sixty was open at a death."""
    rng = random.Random(7)
    simulator.script([{"fault": "delay seconds=0.2"}])
    jobs = await producer.enqueue_many(demo_sized(60))
    open_at_death = 0
    for _ in range(5):
        worker = start_worker()
        more = simulator.stats().requests + rng.randrange(3, 12)
        await until(lambda more=more: simulator.stats().requests >= more)  # type: ignore[misc]
        worker.pause()  # so that what is counted is what it dies with
        open_at_death += await opened(redis)
        worker.kill()
    last = start_worker()
    results = await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))
    last.terminate()
    assert await last.ended() == 0
    assert {result.attempts for result in results} == {1}
    assert len(simulator.calls()) <= 60 + open_at_death
    assert faults([job.id for job in jobs]) == []


async def opened(redis: Redis) -> int:
    """Calls that were written down and whose end was not."""
    count = 0
    async for key in redis.scan_iter(keys.journal("*"), count=1000):
        names = set(await redis.hkeys(key))  # type: ignore[misc]
        count += sum(name.count(b".") == 2 and b":" not in name and name + b":end" not in names for name in names)
    return count


async def test_a_drain_finishes_what_runs_and_hands_the_rest_back_uncharged(
    redis: Redis,
    producer: Producer,
    simulator: Simulator,
    start_worker: StartWorker,
    faults: Callable[..., list[str]],
) -> None:
    """What ends within the window is done; an attempt that takes longer goes on elsewhere, where it was left.

    Its first target hung until the call's limit, its second hung when the window was over: the next worker does not
    ask the first again, and the attempt is still the first.
    """
    simulator.script(
        [{"match": {"contains": "Letter 1."}, "fault": "hang", "times": 2}, {"fault": "delay seconds=0.3"}]
    )
    jobs = await producer.enqueue_many(demo_sized(4))
    limits = {"whole_call_s": 1.0, "first_content_s": 1.0, "content_idle_s": 1.0}
    targets = ["openai/gpt-4o-mini", "openai/gpt-4o"]
    worker = start_worker(drain_s=1.2, limits=limits, targets=targets)
    await simulator.until(lambda stats: stats.in_flight == 4)
    worker.terminate()
    late = await producer.enqueue(Summarize(text="It comes after the signal."))
    assert await worker.ended(timeout_s=15) == 0
    statuses = [await job.status() for job in jobs]
    assert [status.state for status in statuses] == ["succeeded", "queued", "succeeded", "succeeded"]
    assert statuses[1].attempts == 0

    other = start_worker(targets=targets)
    results = await asyncio.gather(*(job.result(timeout_s=20) for job in [*jobs, late]))
    assert [result.attempts for result in results] == [1] * 5
    assert [result.calls for result in results] == [1, 3, 1, 1, 1]
    assert results[1].made_by.name == "openai/gpt-4o"
    other.terminate()
    assert await other.ended() == 0
    assert faults([job.id for job in [*jobs, late]]) == []


async def test_a_restart_of_redis_costs_no_call_and_no_worker(
    own_redis_server: RedisServer,
    simulator: Simulator,
    start_worker: StartWorker,
    faults: Callable[..., list[str]],
) -> None:
    """It is killed while calls are in the air and comes back: their answers are held and written then."""
    url = own_redis_server.url
    simulator.script([{"fault": "delay seconds=1"}])
    async with Producer.connect(url, tenant="acme") as producer:
        jobs = await producer.enqueue_many(demo_sized(20))
        worker = start_worker(url, concurrency=20, lease_s=10.0, heartbeat_s=3.0)
        await simulator.until(lambda stats: stats.in_flight == 20)
        own_redis_server.kill()
        await simulator.until(lambda stats: stats.in_flight == 0)
        own_redis_server.start()
        results = await asyncio.gather(*(job.result(timeout_s=20) for job in jobs))
    assert worker.returncode is None
    worker.terminate()
    assert await worker.ended() == 0
    assert len(simulator.calls()) == 20
    assert {result.attempts for result in results} == {1}
    assert faults([job.id for job in jobs], url) == []
