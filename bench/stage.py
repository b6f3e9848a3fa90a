"""A whole Penstock for a benchmark: Redis, a provider that answers at once, and worker processes."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from bench.support import Bench
from penstock import Classify, Producer
from penstock_schemas import keys
from penstock_simulator import SimulatorProcess
from penstock_store.tether import TetheredProcess

LANE = "standard"
TEXT = "I was charged twice for one invoice and would like my money back. " * 4
_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs."""

    redis_url: str
    provider_url: str
    worker_pids: tuple[int, ...]


@contextmanager
def stage(
    bench: Bench,
    *,
    concurrency: int,
    workers: int = 1,
    latency: str = "0ms",
    config: str = "",
    redis_url: str | None = None,
) -> Iterator[Stage]:
    """Start a provider with fixed answers and worker processes on the benchmark's server, and wait until they work.

    *config*: further sections of their configuration, TOML. *redis_url*: another server than the benchmark's.
    """
    url = redis_url or bench.server.url
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        simulator = running.enter_context(SimulatorProcess(answers="fixed", latency=latency))
        file = folder / "penstock.toml"
        file.write_text(_config(url, f"{simulator.url}/v1", concurrency) + config, "utf-8")
        processes = [_worker(running, file) for _ in range(workers)]
        asyncio.run(warm_up(url, 50 * workers))
        yield Stage(url, f"{simulator.url}/v1", tuple(process.pid for process in processes))


def _config(redis_url: str, base_url: str, concurrency: int) -> str:
    return f"""
[redis]
url = {json.dumps(redis_url)}
allow_volatile = true
[worker]
concurrency = {concurrency}
[providers.openai]
kind = "openai"
base_url = {json.dumps(base_url)}
allow_private = true
[routes.default]
targets = ["openai/gpt-4o-mini"]
"""


def _worker(running: ExitStack, config: Path) -> TetheredProcess:
    log = running.enter_context(config.with_suffix(".log").open("wb"))
    process = TetheredProcess([sys.executable, "-m", "penstock", "--config", str(config), "worker"], stderr=log)
    running.callback(process.stop, 10)
    return process


async def warm_up(redis_url: str, count: int) -> None:
    """Do some jobs, so that connections are open and code is warm."""
    async with Producer.connect(redis_url) as producer:
        jobs = await producer.enqueue_many(asks(count))
        await asyncio.gather(*(job.result(timeout_s=60) for job in jobs))


def asks(count: int) -> list[Classify]:
    """Different small jobs."""
    return [Classify(text=f"{number}: {TEXT}", labels=["billing", "bug"]) for number in range(count)]


def fill_and_drain(bench: Bench, on: Stage, count: int) -> Any:
    """Let *count* jobs wait behind a paused lane, open it, and measure until the last has ended.

    Returns the Run and how many times Redis was read from, per job.
    """
    with redis.Redis.from_url(on.redis_url) as client:
        client.sadd(keys.PAUSED, f"lane:{LANE}")
    asyncio.run(_enqueue(on.redis_url, count))
    return drain(bench, on, count)


def drain(bench: Bench, on: Stage, count: int) -> Any:
    """Open the lane behind which *count* jobs wait; returns as :func:`fill_and_drain`."""
    with redis.Redis.from_url(on.redis_url) as client:
        reads = _reads(client)
        watch = bench.stopwatch(on.worker_pids)
        client.srem(keys.PAUSED, f"lane:{LANE}")
        polls = 0
        while int(client.hget(keys.COUNTS, "open") or 0) > 0:
            polls += 1
            time.sleep(_POLL_S)
        run = watch.stop(count)
        return run, (_reads(client) - reads - polls) / count


async def _enqueue(redis_url: str, count: int) -> None:
    async with Producer.connect(redis_url) as producer:
        await producer.enqueue_many(asks(count))


def _reads(client: redis.Redis) -> int:
    info: Any = client.info("stats")
    return int(info["total_reads_processed"])
