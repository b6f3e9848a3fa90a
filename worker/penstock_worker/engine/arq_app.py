"""An existing arq application on this engine, and a look at an existing arq Redis that changes nothing."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from arq.utils import import_string
from redis.asyncio import Redis

from penstock_schemas import keys
from penstock_schemas.errors import ConfigurationError
from penstock_worker.engine.lease import SUSPECT_DEATHS
from penstock_worker.engine.worker import Worker

DRAIN_S = 30.0
"""Drain window where the application names no ``job_completion_wait``."""

_OVERDUE_MS = 60_000
_PAGE = 500


def make_arq_worker(settings: str | type[Any], **options: Any) -> Worker:
    """The worker that an arq settings class describes, given as itself or as ``"package.module.WorkerSettings"``.

    *options* are laid over its attributes. Raises ConfigurationError for a class that cannot be imported or has
    neither functions nor cron jobs.
    """
    try:
        cls = import_string(settings) if isinstance(settings, str) else settings
    except ImportError as error:
        raise ConfigurationError("--arq", f"{settings}: {error}") from None
    known = inspect.signature(Worker).parameters
    kwargs = {name: value for name, value in vars(cls).items() if name in known} | options
    if "job_completion_wait" not in kwargs:
        kwargs.setdefault("drain_s", DRAIN_S)
    try:
        return Worker(**kwargs)
    except RuntimeError as error:
        raise ConfigurationError("--arq", f"{settings}: {error}") from None


@dataclass(frozen=True, slots=True)
class Finding:
    """One job that is not as it should be."""

    job_id: str
    what: str
    """``expired``: queued, but its payload is gone. ``overdue``: due for over a minute, and nobody runs it.
    ``suspect``: workers died with it. ``stale_abort``: an abort that would kill the next job with this id."""
    since_ms: int
    """The score of its entry: when it was due, or when the abort was asked for."""


async def examine(redis: Redis, queue: str = "arq:queue") -> AsyncIterator[Finding]:
    """Walk an arq queue and arq's abort set; reads only, a page at a time, safe on a busy server."""
    seconds, micros = await redis.time()
    now_ms = seconds * 1000 + micros // 1000
    async for page in _pages(redis, queue):
        for finding in await _examine_jobs(redis, page, now_ms):
            yield finding
    async for page in _pages(redis, keys.ARQ_ABORT):
        for finding in await _examine_aborts(redis, page):
            yield finding


async def _pages(redis: Redis, key: str) -> AsyncIterator[list[tuple[str, int]]]:
    cursor = 0
    while True:
        cursor, page = await redis.zscan(key, cursor, count=_PAGE)
        yield [(job_id.decode(errors="replace"), int(score)) for job_id, score in page]
        if cursor == 0:
            return


async def _examine_jobs(redis: Redis, page: list[tuple[str, int]], now_ms: int) -> list[Finding]:
    async with redis.pipeline(transaction=False) as pipe:
        for job_id, _ in page:
            pipe.exists(keys.arq_job(job_id))
            pipe.exists(keys.arq_in_progress(job_id))
            pipe.get(keys.deaths(job_id))
        answers = await pipe.execute()
    findings = []
    for (job_id, score), has_payload, runs, deaths in zip(
        page, answers[::3], answers[1::3], answers[2::3], strict=True
    ):
        what = _verdict(bool(has_payload), bool(runs), int(deaths or 0), now_ms - score)
        if what is not None:
            findings.append(Finding(job_id, what, score))
    return findings


def _verdict(has_payload: bool, runs: bool, deaths: int, late_ms: int) -> str | None:
    if not has_payload:
        return "expired"
    if deaths >= SUSPECT_DEATHS:
        return "suspect"
    return "overdue" if late_ms > _OVERDUE_MS and not runs else None


async def _examine_aborts(redis: Redis, page: list[tuple[str, int]]) -> list[Finding]:
    async with redis.pipeline(transaction=False) as pipe:
        for job_id, _ in page:
            pipe.exists(keys.arq_job(job_id), keys.arq_in_progress(job_id))
        answers = await pipe.execute()
    return [
        Finding(job_id, "stale_abort", asked) for (job_id, asked), known in zip(page, answers, strict=True) if not known
    ]
