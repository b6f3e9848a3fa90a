"""A failover under three sentinels: the worker follows the primary."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job
from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_store.server import RedisServer, free_port
from penstock_worker.engine.server import sentinels
from tests.integration.engine.conftest import STOCK
from tests.integration.engine.test_arq_weaknesses import Gate, Start, soon
from tests.support.processes import ChildProcess, Processes
from tests.support.servers import server_binary
from tests.support.wait import until

_SENTINEL = """
port {port}
dir {folder}
sentinel monitor mymaster 127.0.0.1 {primary} 2
sentinel down-after-milliseconds mymaster 500
sentinel failover-timeout mymaster 4000
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[[], RedisServer]]:
    """Start servers that end with the test."""
    folders = (tmp_path / name for name in ("primary", "replica"))
    with contextlib.ExitStack() as stack:

        def start_server() -> RedisServer:
            folder = next(folders)
            folder.mkdir()
            return stack.enter_context(RedisServer(binary=server_binary(), directory=folder))

        yield start_server


async def _replicates(client: Redis) -> bool:
    return bool((await client.info("replication")).get("master_link_status") == "up")


async def _knows_all(client: Redis) -> bool:
    state = await client.sentinel_master("mymaster")
    return int(state["num-slaves"]) == 1 and int(state["num-other-sentinels"]) == 2


@pytest.mark.skipif(STOCK, reason="ours only")
async def test_a_failover_is_survived(
    servers: Callable[[], RedisServer], processes: Processes, tmp_path: Path, start: Start
) -> None:
    """The primary is killed: running jobs finish on the new one, and new jobs are taken there."""
    primary, replica = servers(), servers()
    clients = [Redis.from_url(replica.url)]
    await clients[0].replicaof("127.0.0.1", primary.port)
    await until(lambda: _replicates(clients[0]))
    ports = [free_port() for _ in range(3)]
    for port in ports:
        folder = tmp_path / str(port)
        folder.mkdir()
        conf = folder / "sentinel.conf"
        conf.write_text(_SENTINEL.format(port=port, folder=folder, primary=primary.port))
        processes.started.append(ChildProcess([str(server_binary()), str(conf), "--sentinel"]))
    sentinel = Redis(port=ports[0])
    clients.append(sentinel)
    await until(lambda: _answers(sentinel), 30)
    await until(lambda: _knows_all(sentinel), 30)

    settings = RedisSettings(host=[("127.0.0.1", port) for port in ports], sentinel=True)
    pool = await create_pool(settings)
    gate = Gate()
    job = await pool.enqueue_job("work", _job_id="before")
    worker = await start(gate.function(), redis_settings=settings, lease_s=30, heartbeat_s=0.5)
    await soon(gate.started)
    await until(lambda: _has(clients[0], b"before"))
    primary.kill()
    gate.open.set()
    assert job is not None
    await until(lambda: _promoted(clients[0]), 30)
    await until(lambda: clients[0].exists("arq:result:before"))
    after = await _enqueue(pool, "after")
    assert await after.result(timeout=30, poll_delay=0.02) == "done"
    assert (worker.jobs_complete, worker.jobs_refused) == (2, 0)
    for client in (pool, *sentinels(pool), *clients):
        await client.aclose()


async def _answers(client: Redis) -> bool:
    with contextlib.suppress(RedisError, OSError):
        return bool(await client.ping())
    return False


async def _has(client: Redis, job_id: bytes) -> bool:
    return await client.zscore("arq:queue", job_id) is not None and bool(await client.exists("arq:in-progress:before"))


async def _promoted(client: Redis) -> bool:
    return bool((await client.info("replication"))["role"] == "master")


async def _enqueue(pool: ArqRedis, job_id: str) -> Job:
    """Enqueue as soon as the client has found the new primary."""
    made: list[Job] = []

    async def attempt() -> bool:
        with contextlib.suppress(RedisError, OSError):
            job = await pool.enqueue_job("work", _job_id=job_id)
            assert job is not None
            made.append(job)
        return bool(made)

    await until(attempt)
    return made[0]
