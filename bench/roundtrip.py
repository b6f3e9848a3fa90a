"""Round trips to the server, alone and 100 in a pipeline: the floor under all other figures."""

import asyncio

from redis.asyncio import Redis

from bench.support import Bench, Run, median_run

ROUND_TRIPS = {1: 3_000, 100: 300}
"""Commands in a round trip -> how many round trips in a round."""


async def _ping(bench: Bench, batch: int, round_trips: int) -> Run:
    async with Redis.from_url(bench.server.url) as client:
        await client.ping()
        watch = bench.stopwatch()
        for _ in range(round_trips):
            async with client.pipeline(transaction=False) as pipe:
                for _ in range(batch):
                    pipe.ping()
                await pipe.execute()
        return watch.stop(round_trips * batch)


def main(argv: list[str]) -> int:
    """Measure PING, one at a time and in pipelines."""
    with Bench.start(__doc__, argv) as bench:
        rows = []
        for batch, round_trips in ROUND_TRIPS.items():
            runs = [asyncio.run(_ping(bench, batch, round_trips)) for _ in range(bench.rounds)]
            rows.append({"commands in a round trip": batch, **median_run(runs).columns()})
        bench.report(rows)
    return 0
