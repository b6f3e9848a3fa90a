"""A producer and a worker moved by hand, on the tests' server."""

from collections.abc import AsyncIterator

import pytest

from penstock import Producer
from tests.support.jobs import HandWorker, hand_worker


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    """The door of tenant ``acme``."""
    async with Producer.connect(redis_url, tenant="acme") as opened:
        yield opened


@pytest.fixture
async def other(redis_url: str) -> AsyncIterator[Producer]:
    """The door of another tenant."""
    async with Producer.connect(redis_url, tenant="rival") as opened:
        yield opened


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[HandWorker]:
    """Claims and ends jobs as the test says."""
    async with hand_worker(redis_url) as opened:
        yield opened
