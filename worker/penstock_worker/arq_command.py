"""``penstock worker --arq``: an arq application on this engine, as ``arq module.WorkerSettings`` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging.config
import os
import sys
from dataclasses import dataclass
from typing import Any

from arq.connections import RedisSettings
from arq.logs import default_log_config
from arq.utils import import_string

from penstock_worker.engine import make_arq_worker
from penstock_worker.presence import health_served


@dataclass(frozen=True, slots=True)
class ArqOptions:
    """What the command lays over the application's own settings."""

    application: str
    """``package.module.WorkerSettings``."""
    redis_url: str | None
    """Instead of what the application says; None: that."""
    default_redis_url: str
    """Where the application says nothing."""
    burst: bool
    concurrency: int | None
    """Instead of its ``max_jobs``; None: that."""
    health_port: int | None
    """Loopback port; 0: any, None: none."""


async def run_arq_worker(options: ArqOptions) -> None:
    """Work until SIGTERM or SIGINT, then drain and return; in burst mode, until nothing is left to do.

    Logs are arq's own. Raises ConfigurationError for an application that cannot be used and an unsafe server.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    logging.config.dictConfig(default_log_config(verbose=False))
    worker = make_arq_worker(options.application, **_overrides(options))
    try:
        async with contextlib.AsyncExitStack() as stack:
            if options.health_port is not None:
                await stack.enter_async_context(health_served(worker, options.health_port))
            await worker.async_run()
    except asyncio.CancelledError:  # a signal: it has drained
        pass
    finally:
        await worker.close()


def _overrides(options: ArqOptions) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if options.burst:
        overrides["burst"] = True
    if options.concurrency is not None:
        overrides["max_jobs"] = options.concurrency
    if url := options.redis_url or (None if _names_a_redis(options.application) else options.default_redis_url):
        overrides["redis_settings"] = RedisSettings.from_dsn(url)
    return overrides


def _names_a_redis(application: str) -> bool:
    """Whether the settings class says where Redis is; one that cannot be imported is told of later."""
    try:
        named = vars(import_string(application))
    except (ImportError, TypeError):
        return True
    return "redis_settings" in named or "redis_pool" in named
