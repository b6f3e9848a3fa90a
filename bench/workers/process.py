"""A worker process to be measured: runs the queue empty and prints one JSON line.

python -m bench.workers.process URL stock|engine CONCURRENCY
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop
from arq.connections import RedisSettings
from arq.worker import Worker as StockWorker

from penstock_worker.engine import Worker


async def noop(ctx: dict[Any, Any], number: int) -> int:
    """The job of the throughput benchmarks."""
    return number


async def nap(ctx: dict[Any, Any], nap_s: float) -> None:
    """A job that waits, as one for a provider does."""
    await asyncio.sleep(nap_s)


async def run(url: str, kind: str, concurrency: int) -> dict[str, float]:
    """Run until the queue is empty; the wall and CPU time of that."""
    worker = (Worker if kind == "engine" else StockWorker)(
        [noop, nap],
        redis_settings=RedisSettings.from_dsn(url),
        burst=True,
        max_jobs=concurrency,
        handle_signals=False,
    )
    print("ready", flush=True)
    sys.stdin.readline()
    started_at, cpu_before_s = time.perf_counter(), time.process_time()
    await worker.main()
    figures = {
        "jobs": worker.jobs_complete,
        "wall_s": time.perf_counter() - started_at,
        "cpu_s": time.process_time() - cpu_before_s,
    }
    await worker.pool.aclose()
    return figures


if __name__ == "__main__":
    uvloop.install()
    print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))), flush=True)
