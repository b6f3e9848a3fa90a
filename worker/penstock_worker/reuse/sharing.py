"""Answers that need not be bought again.

1. A job of a route that shares is asked about before anything is called: the cache may have an answer, or an equal
   job may be under way to one (a flight). Then this one waits, and holds no slot.
2. Whoever leads a flight goes on as any job does. Its answer lands: it is kept for the route's time, those who wait
   are called, and all that were enqueued before take it as theirs, at no cost; each result names the job that paid.
3. A leader that fails, is cancelled or drained leaves the lead to the first that waits; one that dies loses it with
   its lease. Nobody waits longer than ``LOOK_S`` without looking again.

Only answers that passed every check are shared, and only those without a doubt are kept. Jobs that asked for the
text as it comes (``stream``) make calls of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from penstock_schemas import keys
from penstock_schemas.results import Quality
from penstock_store.batcher import Batcher, Encodable
from penstock_store.scripts import load_script
from penstock_worker.attempt.attempt import Attempt
from penstock_worker.attempt.outcome import Lost, Outcome, Retry, Succeeded
from penstock_worker.reuse.answers import from_json, to_json
from penstock_worker.reuse.equal import request_digest

log = structlog.get_logger("penstock.attempt")

LOOK_S = 5.0
"""After so long a job that waits for another's call looks whether that is still under way."""

FETCH_S = 600.0
"""How long jobs that were there before an answer may take to fetch it, behind whatever else is in their queues."""

FLIGHT_S = 86_400.0
"""How long a flight is remembered that nobody ended."""

WAITS = "equal_job_in_flight"
"""Why such a job is scheduled: a code of its events."""

_JOIN, _LAND = (load_script("penstock_worker.reuse", verb) for verb in ("join", "land"))
_LOST, _CACHED, _LANDED, _WAIT, _CALL = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Sharing:
    """Runs attempts, of routes that say so without buying an answer twice."""

    batcher: Batcher
    run_alone: Callable[[Attempt], Awaitable[Outcome]]

    async def run(self, attempt: Attempt) -> Outcome:
        """The attempt's outcome; raises what *run_alone* raises."""
        route = attempt.route
        if not (route.cache_s or route.single_flight) or attempt.request.stream or attempt.late_by():
            return await self.run_alone(attempt)
        places = _Places.of(attempt)
        joined = await self._join(attempt, places)
        if joined is not None:
            return joined
        try:
            outcome = await self.run_alone(attempt)
        except asyncio.CancelledError:
            self._land(attempt, places, None)
            raise
        await asyncio.wait([self._land(attempt, places, outcome if isinstance(outcome, Succeeded) else None)])
        return outcome

    async def _join(self, attempt: Attempt, places: _Places) -> Outcome | None:
        """The outcome when there is no need to call anybody now; None when there is."""
        lease = attempt.lease
        args: list[Encodable] = [lease.raw_id, lease.token, round(FLIGHT_S * 1000)]
        try:
            code, *more = await self.batcher.call(
                _JOIN, [places.cache, places.flight, keys.record(attempt.job_id)], args
            )
        except (RedisError, OSError) as error:
            log.warning("sharing_failed", error=type(error).__name__)
            return None
        if code == _LOST:
            return Lost()
        if code == _WAIT:
            return Retry(_wait_s(attempt), WAITS, charged=False)
        if code == _CALL:
            return None
        return from_json(more[0], "cache" if code == _CACHED else "single_flight")

    def _land(self, attempt: Attempt, places: _Places, got: Succeeded | None) -> asyncio.Future[object]:
        """Keep the answer and call those who wait for it, while the lease is held: before the attempt's own end.

        What fails here costs them time, and nobody an answer.
        """
        lease, cache_s = attempt.lease, attempt.route.cache_s or 0
        cache = places.cache if got and got.quality is not Quality.SUSPECT else ""
        answer = to_json(attempt, got) if got else b""
        args: list[Encodable] = [lease.raw_id, lease.token, answer, round(cache_s * 1000), round(FETCH_S * 1000)]
        landing = self.batcher.call(_LAND, [cache, places.flight], args)
        landing.add_done_callback(_note_failure)
        return landing


@dataclass(frozen=True, slots=True)
class _Places:
    """The keys of a request; "" for what its route does not do."""

    cache: str
    flight: str

    @classmethod
    def of(cls, attempt: Attempt) -> _Places:
        tenant, digest, route = attempt.request.tenant, request_digest(attempt), attempt.route
        cache = keys.cache(tenant, digest) if route.cache_s else ""
        return cls(cache, keys.flight(tenant, digest) if route.single_flight else "")


def _wait_s(attempt: Attempt) -> float:
    if attempt.deadline_at_ms is None:
        return LOOK_S
    return max(0.0, min(LOOK_S, (attempt.deadline_at_ms - attempt.now_ms()) / 1000))


def _note_failure(landing: asyncio.Future[object]) -> None:
    if not landing.cancelled() and (error := landing.exception()) is not None:
        log.warning("sharing_failed", error=type(error).__name__)
