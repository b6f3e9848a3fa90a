"""Leases, deaths, lost connections, unsafe servers, corrupt content: nothing is lost, doubled, or stopped."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job, JobStatus
from arq.worker import func

from penstock_schemas import keys
from penstock_schemas.errors import ConfigurationError
from penstock_store.batcher import Batcher
from penstock_store.server import RedisServer
from penstock_worker.engine import POISON_DEATHS, SUSPECT_DEATHS, ArqQueue, Claim, FairQueues, Lease, Worker
from penstock_worker.engine.endings import Ending, Endings
from penstock_worker.engine.server import ServerCheck, ServerNeeds
from penstock_worker.engine.sources import Ask
from tests.integration.engine.conftest import MakeWorker
from tests.integration.engine.test_arq_weaknesses import FOREVER_S, QUEUE, Gate, soon
from tests.support.processes import Processes
from tests.support.proxy import TcpProxy
from tests.support.wait import until

Start = Callable[..., Awaitable[Worker]]

_WORKER = """
import asyncio, sys, time
from arq.connections import RedisSettings
from penstock_worker.engine import Worker
async def nap(ctx, nap_s):
    print("started", ctx["job_try"], flush=True)
    await asyncio.sleep(nap_s)
    print("done", flush=True)
async def hang(ctx):
    print("hanging", flush=True)
    time.sleep(3600)
async def stubborn(ctx):
    print("stubborn", flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("not now", flush=True)
Worker([nap, hang, stubborn], redis_settings=RedisSettings.from_dsn(sys.argv[1]), lease_s=0.9, heartbeat_s=0.2,
       drain_s=float(sys.argv[2]), stall_bound_s=0.5).run()
"""


@pytest.fixture
def batcher(arq_redis: ArqRedis) -> Batcher:
    return Batcher(arq_redis)


async def claim(batcher: Batcher, slots: int = 10, *, idle: bool = True, lease_s: float = 10) -> Claim:
    """Claim from the default queue and run nothing."""
    return await ArqQueue(QUEUE).claim(batcher, Ask(slots, lease_s, idle, patience_s=60))


async def vanish(arq_redis: ArqRedis, batcher: Batcher, job_id: str, times: int = 1) -> None:
    """Let holders of the job's lease vanish: their leases end unrenewed."""
    await arq_redis.zadd(QUEUE, {job_id: 1})
    for _ in range(times):
        leases = (await claim(batcher)).leases
        assert [lease.job_id for lease in leases] == [job_id]
        await arq_redis.pexpire(keys.arq_in_progress(job_id), 60_000)  # all that is left of it is the grace
        await arq_redis.zadd(QUEUE, {job_id: 1})


async def test_a_long_job_keeps_its_lease(arq_redis: ArqRedis, start: Start) -> None:
    """The heartbeat renews it beyond several lease lengths; no other worker gets it."""
    gates = [Gate(), Gate()]
    await arq_redis.enqueue_job("work", _job_id="long")
    workers = [await start(gate.function()) for gate in gates]
    await until(lambda: any(worker.held for worker in workers))
    (lease,) = [lease for worker in workers for lease in worker.held.values()]
    first = lease.trusted_until
    await until(lambda: lease.trusted_until > first + 1.5)  # it is far past the first lease by then
    assert sum(gate.runs for gate in gates) == 1


async def test_a_busy_event_loop_does_not_lose_its_leases(arq_redis: ArqRedis, start: Start) -> None:
    """Renewal is in a thread: a job that blocks the loop for two leases is not started again."""
    runs = 0

    async def block(ctx: dict[Any, Any]) -> None:
        nonlocal runs
        runs += 1
        time.sleep(2)  # noqa: ASYNC251 - the fault under test

    worker = await start(func(block, name="block"))
    await arq_redis.enqueue_job("block")
    await until(lambda: worker.jobs_complete == 1)
    await start(func(block, name="block"))
    await until(lambda: not worker.held)
    assert (runs, worker.jobs_refused) == (1, 0)


async def test_a_hung_worker_does_not_hold_its_jobs_for_ever(
    redis_url: str, arq_redis: ArqRedis, processes: Processes, start: Start
) -> None:
    """Beyond the stall bound its heartbeat stops, and another worker takes over."""
    await arq_redis.enqueue_job("hang")
    child = processes.python("-c", _WORKER, redis_url, "1")
    await child.line("hanging")
    gate = Gate()
    await start(func(gate.function().coroutine, name="hang"))
    await soon(gate.started, 10)
    child.kill()


async def test_a_lost_lease_cancels_its_job(arq_redis: ArqRedis, start: Start) -> None:
    """The heartbeat learns that someone else holds the job, and the job stops."""
    gate = Gate()
    await arq_redis.enqueue_job("work", _job_id="taken")
    worker = await start(gate.function())
    await soon(gate.started)
    worker.allow_pick_jobs = False
    await arq_redis.set(keys.arq_in_progress("taken"), "someone else's")
    await until(lambda: worker.jobs_lost == 1)
    assert await arq_redis.get(keys.arq_in_progress("taken")) == b"someone else's"


async def test_a_death_that_was_only_a_delay_is_taken_back(arq_redis: ArqRedis, start: Start) -> None:
    """A holder that is heard of again did not die."""
    gate = Gate()
    await arq_redis.enqueue_job("work", _job_id="late")
    worker = await start(gate.function())
    await soon(gate.started)
    worker.allow_pick_jobs = False
    await arq_redis.hset(keys.DEATHS, "late", 1)
    await arq_redis.set(keys.arq_in_progress("late"), "someone else's")
    await until(lambda: worker.jobs_lost == 1)
    assert await arq_redis.hget(keys.DEATHS, "late") == b"0"


async def test_a_vanished_holder_costs_no_try(arq_redis: ArqRedis, batcher: Batcher) -> None:
    """Deaths are counted apart from tries."""
    await arq_redis.enqueue_job("work", _job_id="unlucky")
    await vanish(arq_redis, batcher, "unlucky", times=SUSPECT_DEATHS)
    (lease,) = (await claim(batcher)).leases
    assert (lease.job_try, lease.deaths) == (1, SUSPECT_DEATHS)


async def test_a_suspect_waits_until_the_worker_is_idle_and_then_runs_alone(arq_redis: ArqRedis, start: Start) -> None:
    """Nothing else is claimed before it and beside it."""
    running: set[str] = set()
    beside: list[set[str]] = []
    first = Gate()

    async def work(ctx: dict[Any, Any]) -> None:
        running.add(ctx["job_id"])
        if ctx["job_id"] == "first":
            await first(ctx)
        elif ctx["job_id"] == "suspect":
            beside.append(set(running))
            await asyncio.sleep(0.05)
            beside.append(set(running))
        running.discard(ctx["job_id"])

    await arq_redis.enqueue_job("work", _job_id="first")
    worker = await start(func(work, name="work"))
    await soon(first.started)
    await arq_redis.hset(keys.DEATHS, "suspect", SUSPECT_DEATHS)
    await arq_redis.enqueue_job("work", _job_id="suspect")
    await until(lambda: arq_redis.exists(keys.suspect("suspect")))
    for i in range(5):
        await arq_redis.enqueue_job("work", _job_id=f"innocent-{i}")
    first.open.set()
    await until(lambda: worker.jobs_complete == 7)
    assert beside == [{"suspect"}, {"suspect"}]


async def test_room_for_a_suspect_is_made_by_another_when_the_first_has_died(arq_redis: ArqRedis, start: Start) -> None:
    """A worker is chosen for the time of a lease, which it prolongs while it waits to be idle; the dead do not."""
    first = Gate()
    await arq_redis.enqueue_job("work", _job_id="first")
    worker = await start(first.function())
    await soon(first.started)
    await arq_redis.hset(keys.DEATHS, "suspect", SUSPECT_DEATHS)
    await arq_redis.set(keys.suspect("suspect"), "a worker that died", px=500)
    await arq_redis.enqueue_job("work", _job_id="suspect")

    async def chosen() -> bytes | None:
        found: bytes | None = await arq_redis.get(keys.suspect("suspect"))
        return found if found != b"a worker that died" else None

    token, chosen_at = await until(chosen), time.monotonic()
    await until(lambda: time.monotonic() > chosen_at + 2 * worker.lease_s)
    assert await arq_redis.get(keys.suspect("suspect")) == token
    first.open.set()
    await until(lambda: worker.jobs_complete == 2)


async def test_one_worker_is_chosen_for_one_suspect_at_a_time(arq_redis: ArqRedis, batcher: Batcher) -> None:
    """The others are left for others to make room for."""
    for job_id in ("one", "two"):
        await arq_redis.hset(keys.DEATHS, job_id, SUSPECT_DEATHS)
        await arq_redis.enqueue_job("work", _job_id=job_id)
    suspect = (await claim(batcher, idle=False)).suspect
    assert suspect is not None
    assert [job_id for job_id in ("one", "two") if await arq_redis.exists(keys.suspect(job_id))] == [suspect[1]]


async def test_a_job_that_died_alone_three_times_is_poison(arq_redis: ArqRedis, start: Start) -> None:
    """It ends as a failure that says so, and the worker lives."""
    job = await arq_redis.enqueue_job("work", _job_id="poison")
    await arq_redis.hset(keys.DEATHS, "poison", POISON_DEATHS)
    gate = Gate()
    await start(gate.function())
    assert job is not None
    with pytest.raises(Exception, match="poison"):
        await job.result(timeout=30, poll_delay=0.02)
    assert gate.runs == 0
    assert await arq_redis.hexists(keys.DEATHS, "poison") == 0


async def test_success_clears_deaths(arq_redis: ArqRedis, batcher: Batcher, start: Start) -> None:
    """Whoever comes through is no suspect any more."""
    await arq_redis.enqueue_job("work", _job_id="cleared")
    await vanish(arq_redis, batcher, "cleared")
    gate = Gate()
    gate.open.set()
    worker = await start(gate.function())
    await until(lambda: worker.jobs_complete == 1 and not worker.held)
    assert await arq_redis.hexists(keys.DEATHS, "cleared") == 0


async def test_a_job_that_stock_arq_runs_is_left_to_it(arq_redis: ArqRedis, batcher: Batcher) -> None:
    """Stock workers beside ours on one queue: their mark is respected."""
    await arq_redis.enqueue_job("work", _job_id="theirs")
    await arq_redis.psetex(keys.arq_in_progress("theirs"), 60_000, b"1")
    assert (await claim(batcher)).leases == []
    assert await arq_redis.get(keys.arq_in_progress("theirs")) == b"1"


async def test_the_same_end_written_twice_is_written_once(arq_redis: ArqRedis, batcher: Batcher) -> None:
    """A repeat after a lost answer changes nothing and counts as written."""
    await arq_redis.enqueue_job("work", _job_id="twice", _defer_by=-1)
    (lease,) = (await claim(batcher)).leases
    released: list[str] = []
    refused: list[str] = []
    endings = Endings(
        batcher,
        keep_retried_ms=1000,
        released=lambda lease: released.append(lease.job_id),
        refused=lambda lease: refused.append(lease.job_id),
    )
    assert await endings.write(Ending(lease, result=b"first", keep_ms=0))
    assert await endings.write(Ending(lease, result=b"second", keep_ms=0, repeated=True))
    assert not await endings.write(Ending(lease, result=b"third", keep_ms=0))
    assert await arq_redis.get(keys.arq_result("twice")) == b"first"
    assert refused == ["twice"]


async def test_an_end_that_cannot_be_written_spoils_no_other_of_its_batch(
    arq_redis: ArqRedis, batcher: Batcher, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease of a foreign type under one job that has to run again: that one is refused."""
    caplog.set_level(logging.CRITICAL)
    for job_id in ("done", "again", "spoilt"):
        await arq_redis.enqueue_job("work", _job_id=job_id, _defer_by=-1)
    leases = {lease.job_id: lease for lease in (await claim(batcher)).leases}
    await arq_redis.delete(keys.arq_in_progress("spoilt"))
    await arq_redis.rpush(keys.arq_in_progress("spoilt"), "list")
    endings = Endings(batcher, keep_retried_ms=1000, released=lambda lease: None, refused=lambda lease: None)
    written = await asyncio.gather(
        endings.write(Ending(leases["done"], result=b"result")),
        endings.write(Ending(leases["again"], retry_wait_ms=0)),
        endings.write(Ending(leases["spoilt"], retry_wait_ms=0)),
    )
    assert written == [True, True, False]
    assert await arq_redis.get(keys.arq_result("done")) == b"result"
    assert await arq_redis.get(keys.arq_retry("again")) == b"1"


async def test_a_lost_answer_to_a_finish_loses_no_result(redis_url: str, arq_redis: ArqRedis, start: Start) -> None:
    """The write was carried out, its answer cut off: the job is done, once."""
    with TcpProxy.to(redis_url) as proxy:
        gate = Gate()
        job = await arq_redis.enqueue_job("work")
        worker = await start(gate.function(), redis_settings=RedisSettings.from_dsn(proxy.url))
        await soon(gate.started)
        await asyncio.to_thread(proxy.drop_next_reply, b"forty-two")
        gate.value = "forty-two"
        gate.open.set()
        assert job is not None
        assert await job.result(timeout=30, poll_delay=0.02) == "forty-two"
        await until(lambda: not worker.held)
        assert (gate.runs, worker.jobs_refused) == (1, 0)


async def test_a_silent_network_is_noticed_and_survived(redis_url: str, arq_redis: ArqRedis, start: Start) -> None:
    """Nothing answers and nothing ends, for longer than the bound on a reply."""
    with TcpProxy.to(redis_url) as proxy:
        gate = Gate()
        gate.open.set()
        settings = RedisSettings.from_dsn(proxy.url)
        worker = await start(gate.function(), redis_settings=settings, lease_s=9, heartbeat_s=3)
        await until(lambda: worker.heartbeat is not None)
        await asyncio.to_thread(proxy.freeze)
        await arq_redis.enqueue_job("work")
        await until(lambda: worker._away_s > 0.05)
        await asyncio.to_thread(proxy.pass_through)
        await until(lambda: worker.jobs_complete == 1)


async def test_sigterm_drains_hands_back_and_exits_0(
    redis_url: str, arq_redis: ArqRedis, processes: Processes, batcher: Batcher
) -> None:
    """What fits into the window ends, the rest is due again at once, uncharged."""
    await arq_redis.enqueue_job("nap", 0.3, _job_id="short")
    long = await arq_redis.enqueue_job("nap", FOREVER_S, _job_id="long")
    child = processes.python("-c", _WORKER, redis_url, "1")
    await until(lambda: len([line for line in child.lines if "started 1" in line]) == 2)
    child.terminate()
    assert await child.ended() == 0
    assert long is not None
    assert await Job("short", arq_redis).status() == JobStatus.complete
    assert await long.status() == JobStatus.queued
    (lease,) = (await claim(batcher)).leases
    assert (lease.job_id, lease.job_try, lease.deaths) == ("long", 1, 0)


async def test_a_job_that_refuses_to_end_does_not_hold_up_the_exit(
    redis_url: str, arq_redis: ArqRedis, processes: Processes
) -> None:
    """A swallowed cancellation costs a few seconds, not the shutdown."""
    await arq_redis.enqueue_job("stubborn")
    child = processes.python("-c", _WORKER, redis_url, "0.1")
    await child.line("stubborn")
    child.terminate()
    assert await child.ended(30) == 0


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_evict_is_refused(
    own_redis_server: RedisServer, make_worker: MakeWorker, policy: str
) -> None:
    """Jobs could vanish: the worker does not start, and says why."""
    client = ArqRedis.from_url(own_redis_server.url)
    await client.config_set("maxmemory-policy", policy)
    await client.aclose()
    with pytest.raises(ConfigurationError, match=policy):
        await make_worker(Gate().function(), redis_settings=RedisSettings.from_dsn(own_redis_server.url)).main()


async def test_a_server_without_persistence_is_refused_where_it_is_needed(own_redis_server: RedisServer) -> None:
    """At the start, and noticed when it is switched off later; snapshots or an append-only file will do."""
    needing = ServerNeeds(persistence=True)
    async with ArqRedis.from_url(own_redis_server.url) as client:
        await client.config_set("appendonly", "no")
        with pytest.raises(ConfigurationError, match=r"redis appendonly: is no.*PENSTOCK_REDIS__ALLOW_VOLATILE"):
            await ServerCheck(needing).at_start(client)
        await ServerCheck(ServerNeeds()).at_start(client)
        await client.config_set("save", "3600 1000")
        check = ServerCheck(needing, every_s=0)
        await check.at_start(client)
        await client.config_set("save", "")
        await check.now_and_then(client)
        assert check.fault is not None and check.fault.setting == "appendonly"
        await client.config_set("save", "3600 1000")
        await check.now_and_then(client)
        assert check.fault is None


async def test_the_default_user_is_refused_where_another_is_asked_for(
    own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Else it is warned of; a user of one's own is fine."""
    async with ArqRedis.from_url(own_redis_server.url) as client:
        with pytest.raises(ConfigurationError, match="redis user: is default"):
            await ServerCheck(ServerNeeds(own_user=True)).at_start(client)
        await ServerCheck(ServerNeeds(own_user=False)).at_start(client)
        assert "default_user" in caplog.text
        await client.execute_command("ACL", "SETUSER", "worker", "on", ">hush", "~*", "&*", "+@all")
    url = own_redis_server.url.replace("redis://", "redis://worker:hush@")
    async with ArqRedis.from_url(url) as client:
        await ServerCheck(ServerNeeds(own_user=True)).at_start(client)


async def test_a_full_server_can_be_drained(own_redis_server: RedisServer, start: Start) -> None:
    """Claims and ends pass when nothing can be enqueued any more."""
    client = ArqRedis.from_url(own_redis_server.url)
    for _ in range(20):
        await client.enqueue_job("work")
    await client.config_set("maxmemory", "1mb")
    gate = Gate()
    gate.open.set()
    worker = await start(gate.function(), redis_settings=RedisSettings.from_dsn(own_redis_server.url), keep_result=0)
    await until(lambda: worker.jobs_complete == 20 and not worker.held)
    assert await client.zcard(QUEUE) == 0
    await client.aclose()


async def test_forgotten_scripts_are_invisible(arq_redis: ArqRedis, start: Start) -> None:
    """SCRIPT FLUSH between any two calls changes nothing."""
    gate = Gate()
    gate.open.set()
    worker = await start(gate.function(), max_jobs=2)
    for i in range(30):
        await arq_redis.enqueue_job("work")
        await arq_redis.script_flush()
        await until(lambda i=i: worker.jobs_complete == i + 1)
    await until(lambda: not worker.held)
    assert worker.jobs_refused == 0


@pytest.mark.parametrize("corruption", ["payload", "lease", "id"])
async def test_corrupt_content_ends_that_job_and_stops_no_other(
    corruption: str, arq_redis: ArqRedis, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong type under a key of ours, or an id that is no text."""
    caplog.set_level(logging.CRITICAL)
    await arq_redis.enqueue_job("work", _job_id="corrupt")
    match corruption:
        case "payload":
            await arq_redis.delete(keys.arq_job("corrupt"))
            await arq_redis.rpush(keys.arq_job("corrupt"), "list")
        case "lease":
            await arq_redis.rpush(keys.arq_in_progress("corrupt"), "list")
        case "id":
            await arq_redis.zadd(QUEUE, {b"\xff\xfe": 1})
    gate = Gate()
    gate.open.set()
    worker = await start(gate.function())
    sound = await arq_redis.enqueue_job("work")
    assert sound is not None
    assert await sound.result(timeout=30, poll_delay=0.02) == "done"
    await until(lambda: not worker.held)
    await until(lambda: _is_empty(arq_redis))


async def _marked_worker(start: Start, arq_redis: ArqRedis, **options: Any) -> tuple[Worker, bytes]:
    """A worker whose source wants to know, after it has left its second mark; and the key of its marks."""

    async def handle(ctx: dict[Any, Any], lease: Lease) -> None: ...

    source = FairQueues(handler=handle, start_lua="local function start() end")
    worker = await start(source=source, heartbeat_s=0.2, **options)

    async def mark() -> bytes | None:
        found = [key async for key in arq_redis.scan_iter(keys.mark("*"))]
        return found[0] if found and int(await arq_redis.get(found[0])) >= 2 else None

    key = await until(mark)
    assert key is not None and worker.states_lost == 0
    return worker, key


async def test_a_redis_that_lost_its_state_is_noticed(
    arq_redis: ArqRedis, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A flush, an empty restart, another server: its name is another one."""
    told: list[bool] = []
    worker, _ = await _marked_worker(start, arq_redis, on_new_server=told.append)
    await arq_redis.flushdb()
    await until(lambda: worker.states_lost == 1)
    assert "state_lost" in caplog.text and told == [True]


async def test_a_redis_that_was_rewound_is_noticed(arq_redis: ArqRedis, start: Start) -> None:
    """The same dataset, but what this worker wrote last is not in it."""
    worker, key = await _marked_worker(start, arq_redis)
    await arq_redis.set(key, 1)
    await until(lambda: worker.states_lost == 1)


async def test_leases_are_renewed_on_a_full_redis(arq_redis: ArqRedis, start: Start) -> None:
    """Beyond its limit of memory, where plain writes are refused."""
    gate = Gate()
    worker = await start(gate.function(), lease_s=2.0, heartbeat_s=0.2)
    await arq_redis.enqueue_job("work", _job_id="held")
    await soon(gate.started)
    marked, _ = await _marked_worker(start, arq_redis)
    await arq_redis.config_set("maxmemory", 1)
    try:
        full_at = time.monotonic()
        await until(lambda: min(_beat_at(worker), _beat_at(marked)) > full_at + 0.5)
        assert worker.jobs_lost == 0 and all(lease.trusted for lease in worker.held.values())
    finally:
        await arq_redis.config_set("maxmemory", 0)
    gate.open.set()


def _beat_at(worker: Worker) -> float:
    """When Redis last answered its heartbeat."""
    assert worker.heartbeat is not None
    return worker.heartbeat.renewed_at or 0.0


async def test_an_idle_worker_asks_rarely(start: Start) -> None:
    """It polls as often as it was told, and does not spin on its own writes."""
    worker = await start(Gate().function(), poll_delay=0.5)
    await until(lambda: worker.heartbeat is not None and worker.heartbeat.renewed_at is not None)
    assert worker.heartbeat is not None and worker.heartbeat.renewed_at is not None
    since, calls = worker.heartbeat.renewed_at, worker.batcher.calls
    await until(lambda: worker.heartbeat.renewed_at > since + 1.0)
    assert worker.batcher.calls - calls < 10


async def _is_empty(arq_redis: ArqRedis) -> bool:
    return await arq_redis.zcard(QUEUE) == 0
