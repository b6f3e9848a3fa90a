"""Workers as an operator runs them: several processes, health, reports, an unsafe server, an arq application."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_store.server import RedisServer, free_port
from tests.integration.cli.conftest import Command, environment
from tests.support.processes import ChildProcess, Processes, is_alive
from tests.support.wait import until
from tests.support.worker_processes import worker_argv, write_config

APPLICATION = """
from arq import cron


async def double(ctx, number):
    return ctx["factor"] * number


async def startup(ctx):
    ctx["factor"] = 2
    print("hook startup", flush=True)


async def shutdown(ctx):
    print("hook shutdown", flush=True)


async def tick(ctx):
    await ctx["redis"].incr("ticks")


class WorkerSettings:
    functions = [double]
    cron_jobs = [cron(tick, run_at_startup=True)]
    on_startup = startup
    on_shutdown = shutdown
"""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A provider without latency."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
def config(tmp_path: Path, redis_url: str, simulator: Simulator) -> Path:
    """Short leases, and a port of its own for each process."""
    ports = {"health_port": free_port(), "lease_s": 1.5, "heartbeat_s": 0.5}
    return write_config(tmp_path, redis_url, simulator.base_url, **ports)


def port_of(config: Path) -> int:
    """The first health port of a configuration."""
    (line,) = [line for line in config.read_text().splitlines() if line.startswith("health_port")]
    return int(line.split("=")[1])


def start(processes: Processes, config: Path, *arguments: str) -> ChildProcess:
    """`penstock worker` with these arguments."""
    return processes.python(*worker_argv(config)[1:], *arguments)


def lives(child: ChildProcess) -> list[int]:
    """The process ids of the workers that a supervisor has started, in order."""
    return [event["pid"] for event in child.events("process_started")]


async def test_two_processes_share_the_work_and_one_that_dies_is_started_again(
    config: Path, processes: Processes, producer: Producer, command: Command, redis: Redis
) -> None:
    """Each has a health port and a report; SIGTERM ends the family with 0, and takes the reports away."""
    parent = start(processes, config, "--processes", "2")
    await until(lambda: redis_has(redis, 2), 30)
    port = port_of(config)
    both = await asyncio.to_thread(command, "health", "--port", str(port), "--processes", "2", "--json")
    assert (both.code, [row["port"] for row in both.objects]) == (0, [port, port + 1])
    listed = await asyncio.to_thread(command, "workers", "--json")
    pids = {row["pid"] for row in listed.objects}
    assert pids == set(lives(parent)) and len(pids) == 2
    victim = lives(parent)[0]
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(lives(parent)) == 3, 30)
    jobs = await producer.enqueue_many([Summarize(text=f"Text {n}. It is long enough.") for n in range(20)])
    results = await asyncio.gather(*(job.result(timeout_s=20) for job in jobs))
    assert {result.state for result in results} == {"succeeded"}
    children = lives(parent)[1:]
    parent.terminate()
    assert await parent.ended(30) == 0
    assert not any(is_alive(pid) for pid in children)
    left = [json.loads(await redis.get(keys.worker(name.decode())) or "{}") for name in await workers(redis)]
    assert {row.get("pid") for row in left} <= {victim}


async def redis_has(redis: Redis, count: int) -> bool:
    return bool(await redis.zcard(keys.WORKERS) == count)


async def workers(redis: Redis) -> list[bytes]:
    return list(await redis.zrange(keys.WORKERS, 0, -1))


async def test_the_children_are_gone_when_the_parent_is_killed(
    config: Path, processes: Processes, redis: Redis
) -> None:
    """SIGKILL leaves no worker without its supervisor."""
    parent = start(processes, config, "--processes", "2")
    await until(lambda: redis_has(redis, 2), 30)
    children = lives(parent)
    parent.kill()
    await until(lambda: not any(is_alive(pid) for pid in children))


def test_a_wrong_configuration_ends_all_processes_with_3(config: Path, processes: Processes) -> None:
    """Before a process is started, and also when only the processes see it."""
    config.write_text(config.read_text().replace("concurrency = 10", "concurrency = 0"))
    assert start(processes, config, "--processes", "2").wait(30) == 3
    config.write_text(config.read_text().replace("concurrency = 0", 'tasks = ["no.such.module"]'))
    parent = start(processes, config, "--processes", "2")
    assert parent.wait(30) == 3
    assert "worker.tasks" in parent.output


async def test_a_server_that_evicts_is_refused_with_3_and_one_line(
    own_redis_server: RedisServer, config: Path, processes: Processes
) -> None:
    """Nothing is claimed, nothing is written."""
    async with Redis.from_url(own_redis_server.url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
        worker = processes.python("-m", "penstock", "--redis", own_redis_server.url, *worker_argv(config)[3:])
        assert await worker.ended(30) == 3
        said = [line for line in worker.lines if line.startswith("penstock:")]
        assert len(said) == 1 and "maxmemory-policy: is allkeys-lru" in said[0] and "noeviction" in said[0]
        assert "Traceback" not in worker.output
        assert await client.dbsize() == 0


async def test_a_server_that_begins_to_evict_makes_the_worker_unready(
    own_redis_server: RedisServer, config: Path, processes: Processes, command: Command
) -> None:
    """It says so, by its port, in its log and in its report; and is ready again when that is mended."""
    processes.python("-m", "penstock", "--redis", own_redis_server.url, *worker_argv(config)[3:])

    async def health() -> Any:
        return await asyncio.to_thread(command, "health", "--port", str(port_of(config)), "--json")

    async with Redis.from_url(own_redis_server.url) as client:
        await until(lambda: _is(health, 0), 30)
        await client.config_set("maxmemory-policy", "volatile-lru")
        await until(lambda: _is(health, 1), 30)
        ended = await health()
        assert "volatile-lru" in ended.objects[0]["why_not"] and ended.objects[0]["ready"] is False
        assert (await asyncio.to_thread(command, "health", "--live", "--port", str(port_of(config)))).code == 0
        await client.config_set("maxmemory-policy", "noeviction")
        await until(lambda: _is(health, 0), 30)


async def _is(health: Any, code: int) -> bool:
    return bool((await health()).code == code)


def test_health_without_a_worker_or_a_port(command: Command, config: Path) -> None:
    """1 when nobody answers, whichever way the port is named; 2 when none is."""
    for arguments in (["--port", str(port_of(config))], []):
        ended = command("--config", str(config), "health", *arguments)
        assert (ended.code, "no answer" in ended.out) == (1, True)
    config.write_text("")
    ended = command("--config", str(config), "health")
    assert (ended.code, "worker.health_port" in ended.err) == (2, True)


async def test_a_port_that_is_taken_is_a_configuration_error(config: Path, processes: Processes) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port_of(config))
    async with server:
        worker = start(processes, config)
        assert await worker.ended(30) == 3
    assert "worker.health_port" in worker.output


async def test_an_arq_application_runs_on_this_engine(
    tmp_path: Path, redis_url: str, redis: Redis, processes: Processes
) -> None:
    """Functions, cron and hooks of a settings class in the current folder; SIGTERM ends it with 0."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    env = {"REDIS_URL": redis_url, "PENSTOCK_CONFIG": None}
    arguments = ["-m", "penstock", "worker", "--arq", "shop.WorkerSettings"]
    worker = processes.python(*arguments, env=env, cwd=tmp_path)
    await worker.line("hook startup")
    client = ArqRedis.from_url(redis_url)
    job = await client.enqueue_job("double", 21)
    assert job is not None and await job.result(timeout=30, poll_delay=0.02) == 42
    await until(lambda: _ticked(redis))
    worker.terminate()
    assert await worker.ended() == 0
    assert "hook shutdown" in worker.lines
    await client.enqueue_job("double", 1)
    burst = processes.python(*arguments, "--burst", env=env, cwd=tmp_path)
    assert await burst.ended(30) == 0
    assert await client.zcard("arq:queue") == 0
    await client.aclose()


async def _ticked(redis: Redis) -> bool:
    return bool(await redis.get("ticks"))


async def test_an_arq_application_that_is_not_there_ends_with_3(tmp_path: Path, redis_url: str) -> None:
    """One line names it."""
    import subprocess
    import sys

    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "penstock", "worker", "--arq", "no.such.Settings"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(redis_url, tmp_path),
        timeout=60,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert "no.such.Settings" in ended.stderr


async def test_doctor_looks_at_an_arq_queue_and_changes_nothing(redis_url: str, redis: Redis, command: Command) -> None:
    """Each job that is not as it should be, by kind; 0 when there is none."""
    client = ArqRedis.from_url(redis_url)
    assert command("doctor", "--arq").code == 0
    for name in ("well", "expired", "overdue", "running", "poisoned", "foreign"):
        await client.enqueue_job("double", 1, _job_id=name)
    await redis.delete(keys.arq_job("expired"), keys.arq_job("foreign"))
    await redis.lpush(keys.arq_job("foreign"), "x")  # type: ignore[misc]
    await redis.zadd("arq:queue", {"overdue": 1})
    await redis.set(keys.arq_in_progress("running"), 1)
    await redis.set(keys.arq_retry("poisoned"), 5)
    await redis.zadd(keys.ARQ_ABORT, {"nobody": 5})
    before = {key: await redis.dump(key) for key in await redis.keys("*")}
    ended = command("doctor", "--arq", "--json")
    assert ended.code == 1
    assert {row["job_id"]: row["what"] for row in ended.objects} == {
        "expired": "expired",
        "overdue": "overdue",
        "running": "stuck",
        "poisoned": "poisoned",
        "foreign": "unreadable",
        "nobody": "stale_abort",
    }
    assert {key: await redis.dump(key) for key in await redis.keys("*")} == before
    await redis.set("arq:queue:health-check", "alive")
    assert "running" not in command("doctor", "--arq").out
    await client.aclose()


async def test_a_tenants_own_cap_holds_for_it_alone(
    config: Path, processes: Processes, producer: Producer, other: Producer, simulator: Simulator, redis: Redis
) -> None:
    """Two of its five jobs run; another tenant's are not held up by it."""
    config.write_text(config.read_text() + "[worker.tenants.default]\nweight = 2.0\ncap = 2\n")  # noqa: ASYNC240
    simulator.script(["delay seconds=2"])
    await producer.enqueue_many([Summarize(text=f"Text {n}.") for n in range(5)])
    child = start(processes, config)
    await simulator.until(lambda stats: stats.in_flight == 2)
    await other.enqueue_many([Summarize(text=f"Other {n}.") for n in range(3)])
    await simulator.until(lambda stats: stats.in_flight == 5)
    assert await redis.zcard(keys.running(keys.queue("standard", "default"))) == 2
    child.kill()  # rather than wait for what it would finish


def test_a_tenant_that_cannot_be_is_refused(config: Path, processes: Processes) -> None:
    """A weight of nothing would starve it, and a name that no tenant can have is misspelt."""
    sound = config.read_text()
    for section, key in (("acme]\nweight = 0", "acme.weight"), ('"a b"]\ncap = 1', "worker.tenants")):
        config.write_text(f"{sound}[worker.tenants.{section}\n")
        worker = start(processes, config, "--check")
        assert worker.wait(30) == 3
        assert key in worker.output
