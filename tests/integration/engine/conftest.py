"""Workers that run inside the test, of the engine's class or, for comparison, of arq's own.

With PENSTOCK_TEST_WORKER=stock the tests named after arq's weaknesses run against ``arq.Worker``, and fail.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import arq.worker
import pytest
from arq.connections import ArqRedis, RedisSettings

from penstock_worker.engine import Worker

STOCK = os.environ.get("PENSTOCK_TEST_WORKER") == "stock"
_OURS_ONLY = ("source", "lease_s", "heartbeat_s", "drain_s", "stall_bound_s", "on_refused")

MakeWorker = Callable[..., Worker]


@pytest.fixture
async def arq_redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    """A stock arq client of a database with nothing in it."""
    client = ArqRedis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def make_worker(redis_url: str) -> AsyncIterator[MakeWorker]:
    """Make a worker that is closed in the end. Leases are of 0.9 s, so that a lost one is soon seen."""
    made: list[Worker] = []

    def make(*functions: Any, **options: Any) -> Worker:
        options = {"lease_s": 0.9, "heartbeat_s": 0.2, "handle_signals": False, "poll_delay": 0.1, **options}
        options.setdefault("redis_settings", RedisSettings.from_dsn(redis_url))
        if STOCK:
            options = {name: value for name, value in options.items() if name not in _OURS_ONLY}
        worker = (arq.worker.Worker if STOCK else Worker)(functions, **options)
        made.append(worker)
        return worker

    yield make
    for worker in made:
        worker.retry_jobs = True
        await worker.close()


@pytest.fixture
async def start(make_worker: MakeWorker) -> AsyncIterator[Callable[..., Awaitable[Worker]]]:
    """Make a worker and run it until the end of the test."""
    running: list[asyncio.Task[None]] = []

    async def start_worker(*functions: Any, **options: Any) -> Worker:
        worker = make_worker(*functions, **options)
        running.append(asyncio.create_task(worker.main()))
        return worker

    yield start_worker
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
