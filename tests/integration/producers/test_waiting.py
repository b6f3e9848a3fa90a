"""Results are pushed: no polling, two connections for any number of waiters, no end missed."""

import asyncio
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from penstock import (
    JobDeadError,
    JobExpiredError,
    JobState,
    Producer,
    ResultTimeoutError,
    Summarize,
    UnavailableError,
    watcher,
)
from penstock_schemas import keys
from penstock_store.server import RedisServer
from tests.support.jobs import HandWorker
from tests.support.proxy import TcpProxy
from tests.support.wait import until

PUSHED_S = 60.0
"""What comes within this time was not found by the look for safety, which is an hour away."""


@pytest.fixture(autouse=True)
def nobody_looks_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is woken."""
    monkeypatch.setattr("penstock.handle.SAFETY_S", 3_600.0)


@pytest.fixture
def proxy(redis_url: str) -> Iterator[TcpProxy]:
    """The way to the tests' server, to be broken."""
    with TcpProxy.to(redis_url) as opened:
        yield opened


async def connections(redis: Redis) -> int:
    """Open connections to the server."""
    return len(await redis.client_list())


async def test_a_thousand_waiters_use_two_connections_and_do_not_poll(
    producer: Producer, redis: Redis, worker: HandWorker
) -> None:
    """Each waiter looks before it waits, once when it is subscribed, and once when it is told of the end."""
    assert await worker.claim() == []
    before = await connections(redis)
    jobs = await producer.enqueue_many([Summarize(text=str(n)) for n in range(1_000)])
    await jobs[0].status()  # the script is known from here on
    calls, trips = producer.batcher.calls, producer.batcher.round_trips
    waiting = [asyncio.create_task(job.result()) for job in jobs]
    await until(lambda: producer.batcher.calls - calls >= 2_000, what="each has looked when it was subscribed")
    assert await connections(redis) - before <= 2

    async with asyncio.timeout(PUSHED_S):
        assert await worker.work_off() == 1_000
        results = await asyncio.gather(*waiting)
    assert [result.job_id for result in results] == [job.id for job in jobs]
    assert producer.batcher.calls - calls <= 3_000
    assert producer.batcher.round_trips - trips < 300


async def test_pieces_of_the_answer_wake_nobody_who_waits_for_the_end(producer: Producer, worker: HandWorker) -> None:
    """A hundred deltas later the only look is the last."""
    job = await producer.enqueue(Summarize(text="A"), stream=True)
    lease = await worker.claim_one()
    calls = producer.batcher.calls
    waiting = asyncio.create_task(job.result())
    await until(lambda: producer.batcher.calls - calls >= 2, what="it has looked when it was subscribed")
    calls = producer.batcher.calls
    for n in range(100):
        await worker.delta(lease, str(n))
    await worker.succeed(lease)
    await waiting
    assert producer.batcher.calls - calls == 1


async def test_a_second_waiter_on_one_job_is_told_to_look(producer: Producer) -> None:
    """There is no second confirmation of a subscription, so what happened before it came must be read at once."""
    async with producer.watcher.watch("channel") as first:
        await first.wait()
        async with producer.watcher.watch("channel") as second:
            assert second.is_set()


async def test_waiters_come_and_go(producer: Producer, worker: HandWorker) -> None:
    """Those who stay are told; the channels of those who went are left."""
    job = await producer.enqueue(Summarize(text="A"))
    for _ in range(3):
        with pytest.raises(ResultTimeoutError) as late:
            await job.result(timeout_s=0.01)
        assert late.value.retriable
        assert late.value.job_id == job.id
    staying = asyncio.create_task(job.result())
    leaving = asyncio.create_task(job.result())
    await until(lambda: producer.watcher.listening(keys.events(job.id)))
    leaving.cancel()
    await asyncio.wait([leaving])
    await worker.succeed(await worker.claim_one())
    async with asyncio.timeout(PUSHED_S):
        await staying
    await until(lambda: not producer.watcher.listening(keys.events(job.id)), what="the channel is left")


async def test_killed_connections_lose_no_end(producer: Producer, redis: Redis, worker: HandWorker) -> None:
    """Both are made anew, every channel is subscribed to again, and what was missed is read."""
    jobs = await producer.enqueue_many([Summarize(text=str(n)) for n in range(50)])
    waiting = [asyncio.create_task(job.result()) for job in jobs]
    await until(lambda: all(producer.watcher.listening(keys.events(job.id)) for job in jobs))
    leases = await worker.claim(50)
    for lease in leases[:25]:
        await worker.succeed(lease)
    await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    async with asyncio.timeout(PUSHED_S):
        for lease in leases[25:]:
            await _persistently(worker, lease)
        assert len(await asyncio.gather(*waiting)) == 50


async def _persistently(worker: HandWorker, lease: object) -> None:
    """The worker's own connection was killed as well."""
    for _ in range(2):
        try:
            await worker.succeed(lease)  # type: ignore[arg-type]
        except ConnectionError:
            continue
        return


async def test_a_restarted_server_is_waited_for(own_redis_server: RedisServer) -> None:
    """A waiter outlives it, and is told of the end by the new server."""
    async with Producer.connect(own_redis_server.url) as producer, Redis.from_url(own_redis_server.url) as redis:
        job = await producer.enqueue(Summarize(text="A"))
        waiting = asyncio.create_task(job.result())
        await until(lambda: producer.watcher.listening(keys.events(job.id)))
        own_redis_server.restart()
        worker = HandWorker(redis)
        await worker.succeed(await worker.claim_one())
        async with asyncio.timeout(PUSHED_S):
            assert (await waiting).job_id == job.id


async def test_a_silent_connection_is_given_up(
    redis_url: str, proxy: TcpProxy, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reset, no end of file, no message: the ping without an answer tells, and a new connection is made."""
    monkeypatch.setattr(watcher, "PING_S", 0.1)
    async with Producer.connect(proxy.url) as producer:
        job = await producer.enqueue(Summarize(text="A"))
        waiting = asyncio.create_task(job.result())
        await until(lambda: producer.watcher.listening(keys.events(job.id)))
        proxy.freeze()
        await until(lambda: not producer.watcher.listening(keys.events(job.id)), what="it was noticed")
        await worker.succeed(await worker.claim_one())
        proxy.cut()
        proxy.pass_through()
        async with asyncio.timeout(PUSHED_S):
            await waiting


async def test_a_quiet_connection_is_kept(producer: Producer, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ping is answered: the same connection goes on."""
    monkeypatch.setattr(watcher, "PING_S", 0.02)
    async with producer.watcher.watch("channel") as wake:
        await wake.wait()
        subscriber = (await redis.client_list(_type="pubsub"))[0]["id"]

        async def pinged() -> bool:
            stats = await redis.info("commandstats")
            return int(stats.get("cmdstat_ping", {}).get("calls", 0)) >= pings + 5

        pings = int((await redis.info("commandstats")).get("cmdstat_ping", {}).get("calls", 0))
        await until(pinged)
        assert (await redis.client_list(_type="pubsub"))[0]["id"] == subscriber


async def test_the_time_of_a_wait_is_kept_while_redis_is_away(own_redis_server: RedisServer) -> None:
    """It ends when it should, with an error that can be tried again."""
    async with Producer.connect(own_redis_server.url, timeout_s=0.2) as producer:
        job = await producer.enqueue(Summarize(text="A"))
        waiting = asyncio.create_task(job.result(timeout_s=0.5))
        await until(lambda: producer.watcher.listening(keys.events(job.id)))
        own_redis_server.kill()
        with pytest.raises((ResultTimeoutError, UnavailableError)) as late:
            await waiting
        assert late.value.retriable


async def test_one_look_does_not_wait(producer: Producer, worker: HandWorker) -> None:
    """A time of 0 reads once, subscribes to nothing."""
    job = await producer.enqueue(Summarize(text="A"))
    calls = producer.batcher.calls
    with pytest.raises(ResultTimeoutError):
        await job.result(timeout_s=0)
    assert producer.batcher.calls - calls <= 2
    assert not producer.watcher.listening(keys.events(job.id))
    await worker.succeed(await worker.claim_one())
    assert (await job.result(timeout_s=0)).state == "succeeded"


async def test_any_process_can_wait_by_the_id(redis_url: str, producer: Producer, worker: HandWorker) -> None:
    """A handle made from the id alone, on another connection, gives the output in its task's type."""
    job = await producer.enqueue(Summarize(text="A"))
    async with Producer.connect(redis_url, tenant="acme") as elsewhere:
        waiting = asyncio.create_task(elsewhere.job(job.id).result())
        await worker.succeed(await worker.claim_one(), {"summary": "Short."})
        assert (await waiting).output.summary == "Short."


async def test_each_way_to_end_is_told_by_its_error(producer: Producer, worker: HandWorker) -> None:
    """Dead with its reason, expired; both name the job."""
    dead, expired = await producer.enqueue_many([Summarize(text="A"), Summarize(text="B")])
    waiting = [asyncio.create_task(job.result()) for job in (dead, expired)]
    leases = {lease.job_id: lease for lease in await worker.claim(2)}
    await worker.bury(leases[dead.id], "attempts_exhausted")
    await worker.end(leases[expired.id], "expired")
    with pytest.raises(JobDeadError) as death:
        await waiting[0]
    assert (death.value.job_id, death.value.reason) == (dead.id, "attempts_exhausted")
    with pytest.raises(JobExpiredError) as expiry:
        await waiting[1]
    assert expiry.value.job_id == expired.id
    assert (await dead.status()).state is JobState.DEAD


async def test_a_degraded_answer_is_a_result_that_says_so(producer: Producer, worker: HandWorker) -> None:
    """State, failure, and who made it."""
    job = await producer.enqueue(Summarize(text="A"))
    await worker.degrade(await worker.claim_one())
    result = await job.result()
    assert (result.state, result.quality, result.made_by.kind) == ("degraded", "suspect", "fallback")
    assert result.failure is not None
    assert result.failure.last_error == "throttled"
