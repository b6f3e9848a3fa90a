"""How others see that a worker lives: its report in Redis, and its health port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version

import structlog
from redis.exceptions import RedisError

from penstock_schemas.errors import ConfigurationError
from penstock_schemas.results import moment
from penstock_schemas.workers import REPORT_TTL_S, WorkerReport
from penstock_store.batcher import Batcher
from penstock_store.scripts import load_script
from penstock_worker.engine import Worker, health, serve_health

log = structlog.get_logger("penstock.worker")

_REPORT = load_script("penstock_worker", "report")
_RENEWALS = 3


@contextlib.asynccontextmanager
async def present(worker: Worker, batcher: Batcher, lanes: Sequence[str], port: int | None) -> AsyncIterator[None]:
    """Report *worker* while the block runs, and answer on the loopback *port* (None: on none).

    The report goes with the block; that of a worker that is killed expires. A Redis that is away stops neither.
    Raises ConfigurationError for a port that is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        if port is not None:
            await stack.enter_async_context(health_served(worker, port))
        reporter = Reporter(worker, batcher, lanes)
        reporting = asyncio.create_task(reporter.run(), name="penstock-report")
        try:
            yield
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
            await reporter.withdraw()


@contextlib.asynccontextmanager
async def health_served(worker: Worker, port: int) -> AsyncIterator[None]:
    """Answer on the loopback *port* (0: any) while the block runs. Raises ConfigurationError for one that is taken."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            served = await stack.enter_async_context(serve_health(worker, port))
        except OSError as error:
            raise ConfigurationError("worker.health_port", f"{port} cannot be had: {error.strerror}") from None
        log.info("health_served", port=served)
        yield


class Reporter:
    """Writes a worker's report, and writes it again before it expires."""

    def __init__(self, worker: Worker, batcher: Batcher, lanes: Sequence[str]) -> None:
        self._worker, self._batcher, self._lanes = worker, batcher, list(lanes)
        self.id = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._started_at_ms: int | None = None

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            with contextlib.suppress(RedisError, OSError):  # it is away: the engine says so
                await self.report()
            await asyncio.sleep(REPORT_TTL_S / _RENEWALS)

    async def report(self) -> None:
        """Write the report once. Raises redis-py's errors."""
        if self._started_at_ms is None:
            seconds, micros = await self._batcher.execute("TIME")
            self._started_at_ms = int(seconds) * 1000 + int(micros) // 1000
        now = health(self._worker)
        report = WorkerReport(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=moment(self._started_at_ms),
            version=version("penstock"),
            concurrency=self._worker.max_jobs,
            held=now.leases_held,
            lanes=self._lanes,
            why_not=now.why_not,
        )
        await self._batcher.call(_REPORT, [], [self.id, report.model_dump_json(), round(REPORT_TTL_S * 1000)])

    async def withdraw(self) -> None:
        """Take the report back; with Redis away it is left to expire."""
        with contextlib.suppress(RedisError, OSError):
            await self._batcher.call(_REPORT, [], [self.id, "", 0])
