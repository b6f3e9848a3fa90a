"""A Redis that is there but will not, by READONLY, MISCONF, LOADING, OOM or NOSCRIPT: nothing is lost or doubled."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Retry, func
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from penstock_store.server import RedisServer
from penstock_worker.engine import Worker
from tests.integration.engine.test_arq_weaknesses import QUEUE, Gate, soon
from tests.support.servers import server_binary
from tests.support.wait import until

Start = Callable[..., Awaitable[Worker]]


class SlowLoader(RedisServer):
    """A server that takes 20 ms to load each key of its snapshot, and answers LOADING meanwhile."""

    def _command(self, port: int) -> list[str]:
        slow = {"key-load-delay": "20000", "loading-process-events-interval-bytes": "1024"}
        snapshot = {"appendonly": "no", "dbfilename": "dump.rdb"}
        return super()._command(port) + [
            word for name, value in (slow | snapshot).items() for word in (f"--{name}", value)
        ]


@pytest.fixture
def slow_loader(tmp_path: Path) -> Iterator[SlowLoader]:
    with SlowLoader(binary=server_binary(), directory=tmp_path, persistence=True) as server:
        yield server


async def refuse_writes(client: ArqRedis, server: RedisServer, how: str) -> None:
    """Make a replica without a primary of the server, or let its snapshots fail: a folder is in their place."""
    if how == "READONLY":
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        return
    assert server.directory is not None
    (server.directory / "dump.rdb").mkdir()
    await client.config_set("save", "3600 1")
    await save(client, "err")


async def accept_writes(client: ArqRedis, server: RedisServer, how: str) -> None:
    """Mend what ``refuse_writes`` did."""
    if how == "READONLY":
        await client.execute_command("REPLICAOF", "NO", "ONE")
        return
    assert server.directory is not None
    (server.directory / "dump.rdb").rmdir()
    await save(client, "ok")


async def save(client: ArqRedis, status: str) -> None:
    """Write a snapshot, which comes out so."""

    async def ended() -> bool:
        with suppress(ResponseError):  # another one is still being written
            await client.bgsave()
        return bool((await client.info("persistence"))["rdb_last_bgsave_status"] == status)

    await until(ended)


@pytest.mark.parametrize("how", ["READONLY", "MISCONF"])
async def test_what_ends_while_writes_are_refused_is_written_later(
    own_redis_server: RedisServer, start: Start, how: str
) -> None:
    """Its end is held, what is queued runs when writes are taken again, and nothing runs twice."""
    client = ArqRedis.from_url(own_redis_server.url)
    gate = Gate()
    jobs = [await client.enqueue_job("work"), await client.enqueue_job("work")]
    settings = RedisSettings.from_dsn(own_redis_server.url)
    worker = await start(gate.function(), redis_settings=settings, max_jobs=1, lease_s=9, heartbeat_s=3)
    await soon(gate.started)
    await refuse_writes(client, own_redis_server, how)
    with pytest.raises(ReadOnlyError if how == "READONLY" else ResponseError):
        await client.set("refused", 1)
    gate.open.set()
    await until(lambda: worker.jobs_complete == 1 and worker._away_s > 0.05)
    assert worker.endings.waiting
    assert gate.runs == 1
    await accept_writes(client, own_redis_server, how)
    for job in jobs:
        assert job is not None
        assert await job.result(timeout=30, poll_delay=0.02) == "done"
    await until(lambda: not worker.held)
    assert (gate.runs, worker.jobs_refused, worker.jobs_lost) == (2, 0, 0)
    await client.aclose()


async def test_a_worker_outlives_a_server_that_loads_its_data(
    slow_loader: SlowLoader, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed and started again: the job that ran meanwhile is written once loading is over, the queued one runs."""
    client = ArqRedis.from_url(slow_loader.url)
    gate = Gate()
    await client.mset({f"ballast-{i}": "x" * 1100 for i in range(40)})
    await client.enqueue_job("work")
    settings = RedisSettings.from_dsn(slow_loader.url)
    worker = await start(gate.function(), redis_settings=settings, max_jobs=1, lease_s=9, heartbeat_s=3)
    await soon(gate.started)
    await client.enqueue_job("work")
    await client.save()
    await asyncio.to_thread(slow_loader.kill)
    starting = asyncio.create_task(asyncio.to_thread(slow_loader.start))
    gate.open.set()
    await until(lambda: "is loading the dataset" in caplog.text)
    assert worker.endings.waiting
    await starting
    await until(lambda: worker.jobs_complete == 2 and not worker.held)
    assert (gate.runs, worker.jobs_refused, worker.jobs_lost) == (2, 0, 0)
    assert await client.zcard(QUEUE) == 0
    await client.aclose()


async def test_a_full_server_is_drained_by_every_kind_of_end(own_redis_server: RedisServer, start: Start) -> None:
    """Values, failures and retries are written, results kept, where a producer is told OOM."""
    client = ArqRedis.from_url(own_redis_server.url)

    async def work(ctx: dict[Any, Any], number: int) -> int:
        if number % 3 == 1:
            raise ValueError(number)
        if number % 3 == 2 and ctx["job_try"] == 1:
            raise Retry(0.01)
        return number

    jobs = [await client.enqueue_job("work", number) for number in range(30)]
    await client.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        await client.enqueue_job("work", 30)
    settings = RedisSettings.from_dsn(own_redis_server.url)
    worker = await start(func(work, name="work"), redis_settings=settings, health_check_interval=3600)
    await until(lambda: worker.jobs_complete == 20 and not worker.held)
    assert (worker.jobs_failed, worker.jobs_retried, worker.jobs_refused) == (10, 10, 0)
    assert await client.zcard(QUEUE) == 0
    assert all([job is not None and await job.result_info() is not None for job in jobs])
    await client.aclose()


async def test_scripts_forgotten_under_load_cost_nothing(arq_redis: ArqRedis, start: Start) -> None:
    """SCRIPT FLUSH again and again beside two busy workers: each job runs once, no end is refused."""
    runs: list[str] = []

    async def work(ctx: dict[Any, Any]) -> None:
        runs.append(ctx["job_id"])
        await asyncio.sleep(0)

    async def forget() -> None:
        while True:
            await arq_redis.script_flush()

    jobs = [await arq_redis.enqueue_job("work") for _ in range(500)]
    forgetting = asyncio.create_task(forget())
    workers = [await start(func(work, name="work"), max_jobs=20) for _ in range(2)]
    await until(lambda: sum(worker.jobs_complete for worker in workers) >= len(jobs), 30)
    await until(lambda: not any(worker.held for worker in workers))
    forgetting.cancel()
    assert sorted(runs) == sorted(job.job_id for job in jobs if job is not None)
    assert all(worker.jobs_refused == worker.jobs_lost == 0 for worker in workers)
