"""One tenant floods the queue, another sends a job now and then, and starts about as soon as it does alone."""

import asyncio
import math
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from penstock import EnqueueManyError, Limits, Producer, QueueFullError, Summarize
from tests.drills import kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict

_SLOTS, _EXCESS = 30, 50
_NOISE_MS = 25.0
"""Below it a delay says more of the machine than of the queue."""


def main(argv: Sequence[str]) -> int:
    return kit.run("noisy_tenant", argv, noise)


def noise(verdict: Verdict, options: kit.Options) -> None:
    flood, small, every_s = options.pick((800, 15, 0.2), (10_000, 60, 1.0))
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="300ms")
        alone = asyncio.run(_trickle(here.server.url, small, every_s))
        kit.wait_quiet(here, 60)
        loud, refused = asyncio.run(_flood(here.server.url, flood))
        here.simulator.until(lambda stats: stats.in_flight >= 0.8 * _SLOTS)
        beside = asyncio.run(_trickle(here.server.url, small, every_s))
        with here.redis() as client:
            left = int(client.zcard("penstock:q:standard:drill"))  # type: ignore[arg-type]
        kit.wait_quiet(here, 300)
        here.workers.stop()
        solo_ms, noisy_ms = _p95_ms(here, alone), _p95_ms(here, beside)
        verdict.at_least("jobs of the flood that still waited at the end", left, _SLOTS)
        verdict.at_least("jobs beyond the bound, refused as queue_full", refused, 1)
        most_ms = min(2_000, max(2 * solo_ms, _NOISE_MS))
        verdict.at_most("p95 ms to the start beside a flood", noisy_ms, most_ms, speed=True)
        verdict.at_most("p95 ms to the start alone", solo_ms, 2_000, speed=True)
        ids = [*alone, *loud, *beside]
        verdict.exactly("ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        here.check(verdict, ids)


async def _flood(url: str, count: int) -> tuple[list[str], int]:
    """Enqueue more than the bound on open jobs lets in: the ids of what it let in, and how many it refused."""
    async with Producer.connect(url, tenant="drill", limits=Limits(queued_jobs=count)) as producer:
        asked = [Summarize(text=kit.TEXT.format(n)) for n in range(count + _EXCESS)]
        with pytest.raises(EnqueueManyError) as refused:
            await producer.enqueue_many(asked)
        assert all(isinstance(error, QueueFullError) for error in refused.value.errors.values())
        return [job.id for job in refused.value.jobs if job is not None], len(refused.value.errors)


async def _trickle(url: str, count: int, every_s: float) -> list[str]:
    ids = []
    async with Producer.connect(url, tenant="small") as producer:
        for n in range(count):
            job = await producer.enqueue(Summarize(text=kit.TEXT.format(n)))
            ids.append(job.id)
            await asyncio.sleep(every_s)  # the pace of the tenant
    return ids


def _p95_ms(here: Stage, ids: Sequence[str]) -> float:
    """From enqueue to start, by Redis' clock alone."""
    with here.redis() as client:
        rows = [client.hmget(f"penstock:job:{job_id}", ["created_at", "started_at"]) for job_id in ids]
    delays = sorted(int(started) - int(created) for created, started in rows)  # type: ignore[misc]
    return float(delays[math.ceil(0.95 * len(delays)) - 1])
