"""A provider to be told what to get wrong, a producer, and the settings of a worker between the two."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from penstock import Producer
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.workers import worker_settings


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A provider without latency."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    """A producer of the tenant ``acme``."""
    async with Producer.connect(redis_url, tenant="acme") as producer:
        yield producer


@pytest.fixture
def settings(redis_url: str, simulator: Simulator) -> Callable[..., Settings]:
    """Makes settings for a worker between this test's Redis and its provider."""

    def make(**options: Any) -> Settings:
        return worker_settings(redis_url, simulator.base_url, **options)

    return make
