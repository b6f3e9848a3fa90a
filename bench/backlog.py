"""Claiming from a long queue: time per job with 1,000 and with 1,000,000 jobs waiting.

Measured in the client, around claims of 32 jobs over a warm connection; what was claimed is finished before the
next claim, unmeasured. Also the bytes that Redis holds per queued job with a payload of 2 KB.
"""

import argparse
import asyncio
import statistics
import sys
import time
from typing import Any, cast

import redis
from arq.constants import default_queue_name
from redis.asyncio import Redis

from bench.support import Bench, Row
from bench.workers.jobs import fill
from penstock_store.batcher import Batcher
from penstock_store.scripts import load_script
from penstock_worker.engine import ArqQueue
from penstock_worker.engine.sources import Ask

_FINISH = load_script("penstock_worker.engine", "finish")
_CLAIMS, _SLOTS = 300, 32
_PAYLOAD = "x" * 2000


def main(argv: list[str]) -> int:
    """Run the benchmark and print its rows."""
    with Bench.start(__doc__, argv, rounds=1, add_options=_options) as bench:
        bench.report([_row(bench, waiting) for waiting in (1000, bench.arguments.jobs)])
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1_000_000, help="the long queue (default: %(default)s)")


def _row(bench: Bench, waiting: int) -> Row:
    bench.flush()
    fill(bench.server.url, waiting, "noop", 1)
    times_s = [asyncio.run(_claim_times(bench.server.url, waiting)) for _ in range(bench.rounds)]
    return {
        "what": "engine: claims of 32",
        "waiting": waiting,
        "claim_us_per_job": statistics.median(statistics.median(each) for each in times_s) / _SLOTS * 1e6,
        "bytes_per_job": _bytes_per_job(bench),
        "payload_bytes": len(_PAYLOAD),
    }


async def _claim_times(url: str, waiting: int) -> list[float]:
    client = Redis.from_url(url)
    batcher, source, times_s = Batcher(client), ArqQueue(default_queue_name), []
    for _ in range(_CLAIMS):
        started_at = time.perf_counter()
        claim = await source.claim(batcher, Ask(_SLOTS, 10.0, idle=True, patience_s=1))
        times_s.append(time.perf_counter() - started_at)
        args: list[Any] = [part for lease in claim.leases for part in (lease.raw_id, lease.token, "", 0, "")]
        await batcher.call(_FINISH, [lease.queue for lease in claim.leases], args)
        if claim.left < _SLOTS:
            await asyncio.to_thread(fill, url, waiting, "noop", 1)
    await client.aclose()
    return times_s


def _bytes_per_job(bench: Bench) -> float:
    """What 2,000 more jobs with a payload of 2 KB cost."""
    with redis.Redis.from_url(bench.server.url) as client:
        before = _used(client)
        fill(bench.server.url, 2000, "noop", _PAYLOAD)
        return (_used(client) - before) / 2000


def _used(client: redis.Redis) -> int:
    return int(cast("dict[str, int]", client.info("memory"))["used_memory"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
