"""From enqueue to result on an idle worker, with a provider that answers at once."""

import asyncio
import time

from bench.stage import asks, stage
from bench.support import Bench, latency_columns
from penstock import Producer

JOBS = 300


async def _measure(redis_url: str) -> tuple[list[float], list[float]]:
    """Latencies of enqueue alone, and until the result is there, in seconds; one job at a time."""
    accepted: list[float] = []
    answered: list[float] = []
    async with Producer.connect(redis_url) as producer:
        for ask in asks(JOBS):
            started = time.perf_counter()
            job = await producer.enqueue(ask)
            accepted.append(time.perf_counter() - started)
            await job.result(timeout_s=30)
            answered.append(time.perf_counter() - started)
    return accepted, answered


def main(argv: list[str]) -> int:
    """Measure one job after the other."""
    accepted: list[float] = []
    answered: list[float] = []
    with Bench.start(__doc__, argv, rounds=3) as bench:
        with stage(bench, concurrency=64) as on:
            for _ in range(bench.rounds):
                more_accepted, more_answered = asyncio.run(_measure(on.redis_url))
                accepted += more_accepted
                answered += more_answered
        bench.report(
            [
                {"what": "enqueue", **latency_columns(accepted)},
                {"what": "enqueue to result", **latency_columns(answered)},
            ]
        )
    return 0
