"""A provider with a bill, a Redis that can be killed, a producer, and workers in processes of their own."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis

from penstock import Producer
from penstock_simulator.simulator import Simulator
from tests.drills import checker
from tests.support.processes import ChildProcess, Processes
from tests.support.worker_processes import worker_argv, write_config

StartWorker = Callable[..., ChildProcess]


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    """The provider's own account."""
    return tmp_path / "bill.jsonl"


@pytest.fixture
async def simulator(bill: Path) -> AsyncIterator[Simulator]:
    """A provider without latency."""
    async with Simulator(bill=bill) as simulator:
        yield simulator


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    """A producer of the tenant ``acme``."""
    async with Producer.connect(redis_url, tenant="acme") as producer:
        yield producer


@pytest.fixture
def start_worker(tmp_path: Path, redis_url: str, simulator: Simulator, processes: Processes) -> StartWorker:
    """Starts a worker process and waits until it works. Short leases, so that a takeover is quick."""

    def start(url: str = redis_url, env: dict[str, str] | None = None, **worker: Any) -> ChildProcess:
        options = {"lease_s": 1.5, "heartbeat_s": 0.5, **worker}
        config = write_config(tmp_path, url, simulator.base_url, **options)
        child = processes.python(*worker_argv(config)[1:], env=env)
        child.wait_event("worker_started")
        return child

    return start


@pytest.fixture
def faults(redis_url: str, bill: Path) -> Callable[..., list[str]]:
    """What the checker finds wrong once nothing runs any more."""

    def check(accepted: list[str], url: str = redis_url) -> list[str]:
        with sync_redis.Redis.from_url(url, decode_responses=True) as client:
            return checker.faults(checker.read(client, accepted, bill))

    return check
