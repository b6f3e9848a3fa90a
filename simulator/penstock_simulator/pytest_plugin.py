"""Fixtures for the tests of services that use Penstock. Nothing is mocked, and nothing leaves the machine.

``pip install 'penstock[simulator]'`` brings them; pytest finds them by itself::

    def test_a_mail_is_filed(penstock_redis, penstock_simulator, penstock_worker):
        penstock_simulator.script(["503 times=1"])            # the provider fails once
        with SyncProducer(penstock_redis) as producer:
            result = producer.run(Classify(text=mail, labels=["bug", "praise"]), timeout_s=20)
        assert result.output.label == "bug" and result.attempts == 2
        assert len(penstock_simulator.calls()) == 2            # what the provider saw and billed

| fixture | gives |
|---|---|
| ``penstock_redis`` | URL of an embedded Redis with nothing in it, never that of ``REDIS_URL`` |
| ``penstock_simulator`` | a running :class:`SimulatorProcess`: ``.base_url``, ``.script(...)``, ``.calls()`` |
| ``penstock_worker`` | a running :class:`WorkerProcess` on both: ``.kill()``, ``.start()``, ``.log`` |
| ``penstock_start_worker`` | a function that starts a worker, given sections of ``penstock.toml`` to differ in |

A service with tasks of its own puts this into its ``conftest.py``::

    @pytest.fixture
    def penstock_worker(penstock_start_worker):
        return penstock_start_worker(worker={"tasks": ["shop.penstock_tasks"]})

All ends with the tests, killed or not. Server and simulator are started once per test process, at their first
use; a worker takes about a second, each time. Without these fixtures the plugin imports nothing but pytest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from penstock_simulator.process import SimulatorProcess
    from penstock_simulator.worker_process import WorkerProcess
    from penstock_store.server import RedisServer

_TARGET = "openai/gpt-4o-mini"


class StartWorker(Protocol):
    """Starts a worker that ends with the test."""

    def __call__(self, **sections: Mapping[str, Any]) -> WorkerProcess:
        """*sections* as in ``penstock.toml``: of tables, key by key, what is given replaces the default.

        RuntimeError, with what it logged, when it does not accept them.
        """


@pytest.fixture(scope="session")
def _penstock_server() -> Iterator[RedisServer]:
    from penstock_store.server import RedisServer

    with RedisServer() as server:
        yield server


@pytest.fixture
def penstock_redis(_penstock_server: RedisServer) -> str:
    """URL of an embedded Redis with nothing in it; started again when a test has killed it."""
    from redis import Redis

    _penstock_server.start()
    with Redis.from_url(_penstock_server.url) as client:
        client.flushall()
    return _penstock_server.url


@pytest.fixture(scope="session")
def _penstock_provider() -> Iterator[SimulatorProcess]:
    from penstock_simulator.process import SimulatorProcess

    with SimulatorProcess() as simulator:
        yield simulator


@pytest.fixture
def penstock_simulator(_penstock_provider: SimulatorProcess) -> SimulatorProcess:
    """A local provider that has seen no call yet and answers well until a script says otherwise."""
    _penstock_provider.reset()
    return _penstock_provider


@pytest.fixture
def penstock_start_worker(penstock_redis: str, penstock_simulator: SimulatorProcess) -> Iterator[StartWorker]:
    """A function that starts a worker with settings of the test's own; see :class:`StartWorker`."""
    from penstock_simulator.worker_process import WorkerProcess

    with ExitStack() as running:

        def start(**sections: Mapping[str, Any]) -> WorkerProcess:
            worker = WorkerProcess(_laid_over(_defaults(penstock_redis, penstock_simulator.base_url), sections))
            running.callback(worker.close)
            worker.start()
            return worker

        yield start


@pytest.fixture
def penstock_worker(penstock_start_worker: StartWorker) -> WorkerProcess:
    """A running worker on ``penstock_redis``, whose provider is ``penstock_simulator``."""
    return penstock_start_worker()


def _defaults(redis_url: str, base_url: str) -> dict[str, Any]:
    """What a worker is told: short limits, so that a test of a failure is soon over."""
    limits = {"connect_s": 2, "first_content_s": 5, "content_idle_s": 5, "whole_call_s": 10}
    provider = {"kind": "openai", "base_url": base_url, "allow_private": True, "limits": limits}
    return {
        "redis": {"url": redis_url, "allow_volatile": True},
        "worker": {"concurrency": 20, "lease_s": 3, "heartbeat_s": 0.5, "drain_s": 10},
        "providers": {"openai": provider},
        "routes": {"default": {"targets": [_TARGET]}},
    }


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping):
            merged[name] = _laid_over(below[name], above[name])
    return merged
