"""Subscribers drop and come back at random, or come when all is over: none misses an event, none sees one twice."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from penstock import Producer
from tests.drills import kit
from tests.drills.verdict import Verdict


def main(argv: Sequence[str]) -> int:
    return kit.run("subscribers", argv, watch)


def watch(verdict: Verdict, options: kit.Options) -> None:
    count = options.pick(40, 100)
    with ExitStack() as stack:
        here = kit.worker_stage(stack, count=2)
        ids = kit.enqueue(here.server.url, count // 2, stream=True)
        seen = asyncio.run(_watch_all(here.server.url, ids, count))
        here.workers.stop()
        with here.redis() as client:
            kept = {job_id: [event for event, _ in client.xrange(f"penstock:events:{job_id}")] for job_id in ids}  # type: ignore[union-attr]
        missed = sum(len(set(kept[job_id]) - set(events)) for job_id, events, _ in seen)
        doubled = sum(len(events) - len(set(events)) for _, events, _ in seen)
        verdict.exactly("subscribers", len(seen), count)
        verdict.exactly("events missed", missed, 0)
        verdict.exactly("events seen twice", doubled, 0)
        verdict.at_most(
            "s until one who comes late knows the end", round(max(late for *_, late in seen), 3), 1.0, speed=True
        )
        here.check(verdict, ids)


async def _watch_all(url: str, ids: list[str], count: int) -> list[tuple[str, list[str], float]]:
    rng = random.Random(3)
    async with Producer.connect(url, tenant="drill") as producer:
        tasks = [_dropping(producer, ids[n % len(ids)], random.Random(rng.random())) for n in range(count)]
        return await asyncio.gather(*tasks)


async def _dropping(producer: Producer, job_id: str, rng: random.Random) -> tuple[str, list[str], float]:
    """Read a job's events, with breaks; the ids seen, and how long the last reading of all took once it was over."""
    seen: list[str] = []
    over = False
    while not over:
        with suppress(TimeoutError):
            async with asyncio.timeout(rng.uniform(0.05, 0.8)):
                async for event in producer.job(job_id).events(after=seen[-1] if seen else None):
                    seen.append(event.id)
                    over = event.terminal
        await asyncio.sleep(rng.uniform(0.0, 0.2))  # it is away
    began = time.monotonic()
    async for event in producer.job(job_id).events():
        over = event.terminal
    return job_id, seen, time.monotonic() - began
