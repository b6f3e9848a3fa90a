"""A look at an existing arq queue, be it a stock worker's or ours, that changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis

from penstock_schemas import keys

ARQ_QUEUE = "arq:queue"
"""The queue of an arq application that names none."""

SUSPECT_DEATHS = 2
"""From so many deaths of its holders in a row on, this engine's workers run a job alone."""

_HEALTH_SUFFIX = ":health-check"
_OVERDUE_MS = 60_000
_MANY_TRIES = 5
_PAGE = 500

What = Literal["expired", "overdue", "stuck", "suspect", "poisoned", "unreadable", "stale_abort"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One job that is not as it should be."""

    job_id: str
    what: What
    """``expired``: queued, but its payload is gone. ``overdue``: due for over a minute, and nobody runs it.
    ``stuck``: marked as running, while no worker of the queue shows life. ``suspect``: our workers died with it.
    ``poisoned``: started five times or more, arq's own limit, and still here. ``unreadable``: its keys are of
    another type than arq's. ``stale_abort``: an abort that would kill the next job with this id."""
    since_ms: int
    """The score of its entry: when it was due, or when the abort was asked for."""


@dataclass(frozen=True, slots=True)
class Look:
    """A queue as a whole, at one moment."""

    queued: int
    """Entries, running ones included."""
    alive: bool
    """Whether a worker has written the queue's health key, which expires."""
    now_ms: int


async def look(redis: Redis, queue: str = ARQ_QUEUE) -> Look:
    """The queue as a whole. Raises redis-py's errors."""
    seconds, micros = await redis.time()
    alive = await redis.exists(queue + _HEALTH_SUFFIX)
    return Look(await redis.zcard(queue), bool(alive), seconds * 1000 + micros // 1000)


async def examine(redis: Redis, queue: str = ARQ_QUEUE) -> AsyncIterator[Finding]:
    """Walk an arq queue and arq's abort set; reads only, a page at a time, safe on a busy server.

    Payloads are not read: they may be pickles. Raises redis-py's errors.
    """
    at = await look(redis, queue)
    async for page in _pages(redis, queue):
        for finding in await _examine_jobs(redis, page, at):
            yield finding
    async for page in _pages(redis, keys.ARQ_ABORT):
        for finding in await _examine_aborts(redis, page):
            yield finding


async def _pages(redis: Redis, key: str) -> AsyncIterator[list[tuple[str, int]]]:
    cursor = 0
    while True:
        cursor, page = await redis.zscan(key, cursor, count=_PAGE)
        yield [(job_id.decode(errors="surrogateescape"), int(score)) for job_id, score in page]
        if cursor == 0:
            return


async def _examine_jobs(redis: Redis, page: list[tuple[str, int]], at: Look) -> list[Finding]:
    async with redis.pipeline(transaction=False) as pipe:
        for job_id, _ in page:
            pipe.type(_raw(keys.arq_job(job_id)))
            pipe.get(_raw(keys.arq_in_progress(job_id)))
            pipe.get(_raw(keys.arq_retry(job_id)))
            pipe.hget(keys.DEATHS, _raw(job_id))  # type: ignore[arg-type]
        answers = await pipe.execute(raise_on_error=False)
    findings = []
    for i, (job_id, score) in enumerate(page):
        what = _verdict(*answers[4 * i : 4 * i + 4], late_ms=at.now_ms - score, alive=at.alive)
        if what is not None:
            findings.append(Finding(job_id, what, score))
    return findings


def _verdict(kind: Any, runs: Any, tries: Any, deaths: Any, *, late_ms: int, alive: bool) -> What | None:
    if kind == b"none":
        return "expired"
    if kind != b"string" or not (_is_count(tries) and _is_count(deaths)) or isinstance(runs, Exception):
        return "unreadable"
    if int(deaths or 0) >= SUSPECT_DEATHS:
        return "suspect"
    if int(tries or 0) >= _MANY_TRIES:
        return "poisoned"
    if runs is not None:
        return None if alive else "stuck"
    return "overdue" if late_ms > _OVERDUE_MS else None


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, bytes) and value.isdigit())


async def _examine_aborts(redis: Redis, page: list[tuple[str, int]]) -> list[Finding]:
    async with redis.pipeline(transaction=False) as pipe:
        for job_id, _ in page:
            pipe.exists(_raw(keys.arq_job(job_id)), _raw(keys.arq_in_progress(job_id)))
        answers = await pipe.execute()
    return [
        Finding(job_id, "stale_abort", asked) for (job_id, asked), known in zip(page, answers, strict=True) if not known
    ]


def _raw(key: str) -> bytes:
    """A key's bytes, also where the job id in it is not UTF-8."""
    return key.encode(errors="surrogateescape")
