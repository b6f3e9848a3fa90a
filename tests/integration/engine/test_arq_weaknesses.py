"""What is wrong with the stock arq 0.28 worker, fact by fact; each of these fails with PENSTOCK_TEST_WORKER=stock."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from signal import Signals
from typing import Any

import arq.worker
import pytest
from arq.connections import ArqRedis
from arq.constants import health_check_key_suffix
from arq.cron import cron
from arq.jobs import Job
from arq.worker import Retry, func

from penstock_schemas import keys
from penstock_store.server import RedisServer
from penstock_worker.engine import Worker, wake
from tests.integration.engine.conftest import MakeWorker
from tests.support.processes import Processes
from tests.support.wait import until

Start = Callable[..., Awaitable[Worker]]
QUEUE = "arq:queue"
FOREVER_S = 3600.0

_KILLED = """
import asyncio, sys
from arq.connections import RedisSettings
from penstock_worker.engine import Worker
import arq.worker, os
async def work(ctx):
    print("started", flush=True)
    await asyncio.sleep(3600)
settings = RedisSettings.from_dsn(sys.argv[1])
if os.environ.get("PENSTOCK_TEST_WORKER") == "stock":
    arq.worker.Worker([work], redis_settings=settings).run()
else:
    Worker([work], redis_settings=settings, lease_s=0.9, heartbeat_s=0.2).run()
"""


class Gate:
    """A job that says that it has started and ends when it is told to."""

    def __init__(self, value: str = "done") -> None:
        self.started = asyncio.Event()
        self.open = asyncio.Event()
        self.runs = 0
        self.value = value

    async def __call__(self, ctx: dict[Any, Any]) -> str:
        self.runs += 1
        self.started.set()
        await self.open.wait()
        return self.value

    def function(self, **options: Any) -> Any:
        """It as an arq function called ``work``."""

        async def work(ctx: dict[Any, Any]) -> str:
            return await self(ctx)

        return func(work, name="work", **options)


async def soon(event: asyncio.Event, timeout_s: float = 5.0) -> None:
    """Wait for *event*, not for ever."""
    async with asyncio.timeout(timeout_s):
        await event.wait()


async def test_a_killed_workers_job_runs_again_after_its_lease_not_after_the_longest_job_timeout(
    redis_url: str, arq_redis: ArqRedis, processes: Processes, start: Start
) -> None:
    """A lease is short whatever the functions' time-outs are."""
    await arq_redis.enqueue_job("work")
    child = processes.python("-c", _KILLED, redis_url)
    await child.line("started")
    child.kill()
    gate = Gate()
    await start(gate.function())
    await soon(gate.started)


async def test_a_stale_worker_cannot_overwrite_a_newer_result(arq_redis: ArqRedis, start: Start) -> None:
    """Who lost the lease ends nothing."""
    slow, fast = Gate("slow"), Gate("fast")
    job = await arq_redis.enqueue_job("work", _job_id="contested")
    first = await start(slow.function())
    await soon(slow.started)
    first.allow_pick_jobs = False
    await arq_redis.delete(keys.arq_in_progress("contested"))  # what an expired lease leaves behind
    await arq_redis.zadd(QUEUE, {"contested": 1})
    await start(fast.function())
    await soon(fast.started)
    slow.open.set()
    await until(lambda: not first.tasks)
    fast.open.set()
    assert job is not None
    assert await job.result(timeout=30, poll_delay=0.02) == "fast"
    await until(lambda: not first.held if isinstance(first, Worker) else True)
    assert await job.result(timeout=30, poll_delay=0.02) == "fast"


async def test_an_old_abort_does_not_kill_a_new_job_with_the_same_id(arq_redis: ArqRedis, start: Start) -> None:
    """An abort that was asked before the job was enqueued is not for this job."""
    await Job("reused", arq_redis).abort(timeout=0)
    await start(Gate().function(), allow_abort_jobs=True)
    gate = Gate()
    await start(gate.function(), queue_name="other", allow_abort_jobs=True)
    await asyncio.sleep(0.01)  # the next millisecond, so that the abort is older
    await arq_redis.enqueue_job("work", _job_id="reused", _queue_name="other")
    await soon(gate.started)


async def test_who_has_long_been_idle_is_woken_all_the_same(
    arq_redis: ArqRedis, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch outlives a silence: it asks the server whether it is still there, and it is."""
    monkeypatch.setattr(wake, "_QUIET_S", 0.05)
    listens = asyncio.Event()
    heard = wake.Waker._deliver

    async def deliver(self: wake.Waker, listener: Any) -> None:
        asyncio.get_running_loop().call_later(1.0, listens.set)
        await heard(self, listener)
        raise AssertionError("it ends only when it is cancelled")

    monkeypatch.setattr(wake.Waker, "_deliver", deliver)
    await start((gate := Gate()).function(), poll_delay=FOREVER_S)
    await soon(listens)
    await arq_redis.enqueue_job("work")
    await soon(gate.started)


async def test_an_abort_takes_effect_at_once_not_at_the_next_poll(arq_redis: ArqRedis, start: Start) -> None:
    """The abort set is watched, however rare polls are."""
    gate = Gate()
    job = await arq_redis.enqueue_job("work")
    await start(gate.function(), allow_abort_jobs=True, poll_delay=FOREVER_S)
    await soon(gate.started)
    assert job is not None
    assert await job.abort(timeout=30, poll_delay=0.02)


async def test_an_abort_of_a_running_job_does_not_start_it_twice(arq_redis: ArqRedis, start: Start) -> None:
    """arq's Job.abort takes a leased job for a deferred one and makes it due; the lease decides, not the score."""
    gate = Gate()
    job = await arq_redis.enqueue_job("work")
    await start(gate.function(), allow_abort_jobs=False, max_jobs=1)
    await soon(gate.started)
    second = Gate()
    await start(second.function(), allow_abort_jobs=False)
    assert job is not None
    with pytest.raises(asyncio.TimeoutError):
        await job.abort(timeout=0)
    await arq_redis.enqueue_job("work", _job_id="after")  # is taken by the second: it has looked at the queue since
    await soon(second.started)
    assert gate.runs + second.runs == 2


async def test_keep_result_forever_survives_a_job_that_fails_before_it_runs(
    arq_redis: ArqRedis, make_worker: MakeWorker
) -> None:
    """An unknown function ends with a result that is kept for ever."""
    job = await arq_redis.enqueue_job("nobody_knows", _job_id="unknown")
    await make_worker(Gate().function(), keep_result_forever=True, burst=True).main()
    assert job is not None
    info = await job.result_info()
    assert info is not None and not info.success
    assert await arq_redis.ttl(keys.arq_result("unknown")) == -1


async def test_a_functions_own_keep_result_holds_when_its_tries_are_used_up(
    arq_redis: ArqRedis, make_worker: MakeWorker
) -> None:
    """The function's setting wins over the worker's also for a job that fails before it runs."""
    await arq_redis.enqueue_job("work", _job_id="worn", _job_try=9)
    await make_worker(Gate().function(keep_result_forever=True), burst=True).main()
    assert await arq_redis.ttl(keys.arq_result("worn")) == -1


async def test_a_payload_outlives_the_wait_for_its_retry(arq_redis: ArqRedis, start: Start) -> None:
    """A retry in three days keeps what it will need then; stock payloads end a day after enqueue."""

    async def work(ctx: dict[Any, Any]) -> None:
        raise Retry(defer=timedelta(days=3))

    await arq_redis.enqueue_job("work", _job_id="patient")
    worker = await start(func(work, name="work"))
    await until(lambda: worker.jobs_retried == 1)
    await until(lambda: _lives_longer(arq_redis, keys.arq_job("patient"), 3 * 86_400))


async def _lives_longer(arq_redis: ArqRedis, key: str, life_s: int) -> bool:
    return int(await arq_redis.ttl(key)) > life_s


async def test_a_deploy_costs_no_try(arq_redis: ArqRedis, start: Start) -> None:
    """A job that a shutdown interrupts is handed back as it was."""
    tries: list[int] = []

    async def work(ctx: dict[Any, Any]) -> None:
        tries.append(ctx["job_try"])
        await asyncio.sleep(0 if len(tries) > 2 else FOREVER_S)

    await arq_redis.enqueue_job("work")
    for stops in (1, 2):
        worker = await start(func(work, name="work"))
        await until(lambda stops=stops: len(tries) == stops)
        worker.handle_sig(Signals.SIGTERM)
        await until(lambda worker=worker: all(task.done() for task in worker.tasks.values()))
    await start(func(work, name="work"))
    await until(lambda: len(tries) == 3)
    assert tries == [1, 1, 1]


async def test_an_exception_in_a_hook_does_not_stop_the_worker(arq_redis: ArqRedis, start: Start) -> None:
    """The job fails with it, and the next one runs."""
    failing = True

    async def on_job_start(ctx: dict[Any, Any]) -> None:
        if failing:
            raise RuntimeError("hook")

    gate = Gate()
    gate.open.set()
    job = await arq_redis.enqueue_job("work")
    await start(gate.function(), on_job_start=on_job_start)
    assert job is not None
    with pytest.raises(RuntimeError, match="hook"):
        await job.result(timeout=30, poll_delay=0.02)
    failing = False
    job = await arq_redis.enqueue_job("work")
    assert job is not None
    assert await job.result(timeout=30, poll_delay=0.02) == "done"


@pytest.mark.parametrize("hook", ["on_job_end", "after_job_end"])
async def test_an_exception_in_a_later_hook_does_not_lose_the_result(
    hook: str, arq_redis: ArqRedis, start: Start
) -> None:
    """What was computed and paid for is kept, and the worker lives."""

    async def fail(ctx: dict[Any, Any]) -> None:
        raise RuntimeError("hook")

    gate = Gate()
    gate.open.set()
    await start(gate.function(), **{hook: fail})
    for _ in range(2):
        job = await arq_redis.enqueue_job("work")
        assert job is not None
        assert await job.result(timeout=30, poll_delay=0.02) == "done"


async def test_a_redis_that_is_away_does_not_end_the_worker(own_redis_server: RedisServer, start: Start) -> None:
    """It finishes what it ran, and takes what comes then."""
    gate = Gate()
    client = ArqRedis.from_url(own_redis_server.url)
    job = await client.enqueue_job("work")
    assert job is not None
    worker = await start(gate.function(), redis_settings=_settings(own_redis_server), lease_s=30, heartbeat_s=0.2)
    await soon(gate.started)
    own_redis_server.stop()
    gate.open.set()
    await until(lambda: worker.jobs_complete == 1)
    own_redis_server.start()
    assert await job.result(timeout=30, poll_delay=0.02) == "done"
    job = await client.enqueue_job("work")
    assert job is not None
    assert await job.result(timeout=30, poll_delay=0.02) == "done"
    await client.aclose()


def _settings(server: RedisServer) -> Any:
    return arq.connections.RedisSettings.from_dsn(server.url)


async def test_a_cron_tick_runs_once_though_a_late_worker_enqueues_it_again(
    arq_redis: ArqRedis, make_worker: MakeWorker
) -> None:
    """A tick that was run is remembered longer than any clock is late."""
    runs = 0

    async def tick(ctx: dict[Any, Any]) -> None:
        nonlocal runs
        runs += 1

    def worker() -> Worker:
        return make_worker(cron_jobs=[cron(tick, name="tick", hour=1)], burst=True)

    for _ in range(2):
        await arq_redis.enqueue_job("tick", _job_id="tick:1700000000123")
        async with asyncio.timeout(5):
            await worker().main()
    assert runs == 1


async def test_a_job_with_score_0_runs(arq_redis: ArqRedis, start: Start) -> None:
    """A score of 0 is a time, not the lack of one."""
    gate = Gate()
    await arq_redis.enqueue_job("work", _job_id="zero")
    await arq_redis.zadd(QUEUE, {"zero": 0})
    await start(gate.function())
    await soon(gate.started)


async def test_a_worker_that_closes_leaves_the_health_key_of_another(
    arq_redis: ArqRedis, make_worker: MakeWorker, start: Start
) -> None:
    """Of two workers of one queue, the one that wrote last keeps its word."""
    first = make_worker(Gate().function(), burst=True)
    await first.main()
    await start(Gate().function(), health_check_interval=0)
    before = await arq_redis.get(QUEUE + health_check_key_suffix)
    await until(lambda: _changed(arq_redis, before))
    await first.close()
    assert await arq_redis.get(QUEUE + health_check_key_suffix) is not None


async def _changed(arq_redis: ArqRedis, before: bytes | None) -> bool:
    return await arq_redis.get(QUEUE + health_check_key_suffix) != before


async def test_a_retry_without_a_wait_goes_behind_what_is_due(arq_redis: ArqRedis, start: Start) -> None:
    """It does not push aside those that have waited."""
    order: list[str] = []

    async def work(ctx: dict[Any, Any]) -> None:
        order.append(ctx["job_id"])
        if ctx["job_id"] == "eager" and ctx["job_try"] == 1:
            raise Retry

    await arq_redis.enqueue_job("work", _job_id="eager")
    await arq_redis.enqueue_job("work", _job_id="patient")
    await arq_redis.zadd(QUEUE, {"eager": 1, "patient": 2})
    await start(func(work, name="work"), max_jobs=1)
    await until(lambda: len(order) == 3)
    assert order == ["eager", "patient", "eager"]


async def test_a_result_that_cannot_be_serialized_counts_as_a_failure_and_is_kept_as_text(
    arq_redis: ArqRedis, make_worker: MakeWorker
) -> None:
    """What was paid for is not thrown away, and the counters do not say that all is well."""

    async def work(ctx: dict[Any, Any]) -> Any:
        return {"answer": "forty-two", "lock": asyncio.Lock(), "reader": (x for x in ())}

    job = await arq_redis.enqueue_job("work")
    worker = make_worker(func(work, name="work"), burst=True)
    await worker.main()
    assert (worker.jobs_complete, worker.jobs_failed) == (0, 1)
    assert job is not None
    info = await job.result_info()
    assert info is not None and not info.success and "forty-two" in info.result


async def test_an_idle_worker_starts_a_job_at_once_not_at_the_next_poll(arq_redis: ArqRedis, start: Start) -> None:
    """Stock producers need not help: the queue's key is watched."""
    gate = Gate()
    worker = await start(gate.function(), poll_delay=FOREVER_S)
    await until(lambda: worker.ctx.get("redis"))
    for _ in range(2):
        gate.started.clear()
        gate.open.set()
        await arq_redis.enqueue_job("work")
        await soon(gate.started)


async def test_a_freed_slot_is_refilled_at_once_not_at_the_next_poll(arq_redis: ArqRedis, start: Start) -> None:
    """A full worker takes the next job when one ends."""
    gate = Gate()
    gate.open.set()
    for _ in range(5):
        await arq_redis.enqueue_job("work")
    await start(gate.function(), poll_delay=FOREVER_S, max_jobs=1)
    await until(lambda: gate.runs == 5, 30)


async def test_a_deferred_job_starts_when_it_is_due_not_at_the_next_poll(arq_redis: ArqRedis, start: Start) -> None:
    """The claim's answer tells when the next job is due."""
    gate = Gate()
    await arq_redis.enqueue_job("work", _defer_by=0.3)
    await start(gate.function(), poll_delay=FOREVER_S)
    await soon(gate.started)


async def test_running_jobs_do_not_hide_waiting_ones_from_other_workers(arq_redis: ArqRedis, start: Start) -> None:
    """A claimed job leaves the read window, so that no fleet-wide ceiling arises."""
    for _ in range(6):
        await arq_redis.enqueue_job("work")
    gates = [Gate() for _ in range(3)]
    for gate in gates:
        await start(gate.function(), max_jobs=2, queue_read_limit=2)
    await until(lambda: [gate.runs for gate in gates] == [2, 2, 2], 30)


async def test_round_trips_are_shared_between_jobs(arq_redis: ArqRedis, make_worker: MakeWorker) -> None:
    """Redis reads far less often than once per job."""
    gate = Gate()
    gate.open.set()
    for _ in range(300):
        await arq_redis.enqueue_job("work")
    worker = make_worker(gate.function(), burst=True, max_jobs=50)
    before = await _reads(arq_redis)
    await worker.main()
    assert gate.runs == 300
    assert await _reads(arq_redis) - before < 300 * 0.5


async def _reads(arq_redis: ArqRedis) -> int:
    return int((await arq_redis.info("stats"))["total_reads_processed"])


class Unshowable:
    """An argument whose text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


async def test_an_argument_that_cannot_be_shown_does_not_fail_its_job(
    arq_redis: ArqRedis, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Arguments are shown for the log only, and only as much of them as is logged."""
    caplog.set_level(logging.INFO)

    async def work(ctx: dict[Any, Any], thing: Any) -> str:
        return "done"

    job = await arq_redis.enqueue_job("work", Unshowable())
    await start(func(work, name="work"))
    assert job is not None
    assert await job.result(timeout=30, poll_delay=0.02) == "done"
