"""Fixtures of all tests: a real server, a clean database, real processes."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from penstock_store.server import RedisServer
from tests.support import processes as support
from tests.support.servers import server_binary


def pytest_configure() -> None:
    """Hand no ignored SIGINT on to the processes that tests start: a shell's background jobs have it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say which server this run is a proof for."""
    with RedisServer(binary=server_binary()) as server:
        return f"redis: {server.version}"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server of this test process, shared: to be killed or paused there is ``own_redis_server``."""
    with RedisServer(binary=server_binary()) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of a database with nothing in it."""
    with SyncRedis.from_url(redis_server.url) as client:
        client.flushdb()
    return redis_server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client, answering bytes, of a database with nothing in it."""
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def own_redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of this test's own, with persistence, to be killed, paused and restarted."""
    directory = tmp_path / "redis"
    directory.mkdir()
    with RedisServer(binary=server_binary(), directory=directory, persistence=True) as server:
        yield server


@pytest.fixture
def processes() -> Iterator[support.Processes]:
    """Starts processes that end with the test; their logs are in the report of a failure."""
    with support.processes() as starter:
        yield starter
