"""How soon an idle worker starts a job, how soon a freed slot is refilled, how busy many workers are kept.

The engine and stock arq at their default settings, stock producers (``ArqRedis.enqueue_job``), worker and
producer in one process.
"""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker as StockWorker
from arq.worker import func

from bench.support import Bench, Row, percentile
from penstock_worker.engine import Worker

_KINDS: dict[str, type[StockWorker]] = {"engine": Worker, "stock arq": StockWorker}
_JOBS = {"engine": 300, "stock arq": 20}
_PAUSE_S = 0.01, 0.02  # by then the engine's worker is idle, and no phase of a clock is preferred
_WORKERS, _SLOTS, _NAP_S = 25, 10, 2.0


def main(argv: list[str]) -> int:
    """Run the benchmark and print its rows."""
    with Bench.start(__doc__, argv, rounds=1) as bench:
        rows: list[Row] = []
        for kind in _KINDS:
            bench.flush()
            rows += uvloop.run(_measure(bench.server.url, kind))
        bench.report(rows)
    return 0


async def _measure(url: str, kind: str) -> list[Row]:
    settings = RedisSettings.from_dsn(url)
    pool = await create_pool(settings)
    rows = [*await _idle(pool, settings, kind), await _refill(pool, settings, kind), await _busy(pool, settings, kind)]
    await pool.aclose()
    return rows


async def _idle(pool: ArqRedis, settings: RedisSettings, kind: str) -> list[Row]:
    started: dict[int, asyncio.Future[float]] = {}

    async def work(ctx: dict[Any, Any], number: int) -> None:
        started[number].set_result(time.perf_counter())

    starts_s, results_s = [], []
    async with _running(kind, 1, settings, functions=[func(work, name="work")]):
        for number in range(_JOBS[kind]):
            await asyncio.sleep(random.uniform(*_PAUSE_S))
            started[number] = asyncio.get_running_loop().create_future()
            enqueued_at = time.perf_counter()
            job = await pool.enqueue_job("work", number)
            assert job is not None
            starts_s.append(await started[number] - enqueued_at)
            while not await pool.exists(f"arq:result:{job.job_id}"):
                pass
            results_s.append(time.perf_counter() - enqueued_at)
    return [
        _row(f"{kind}: enqueue to start, idle worker, ms", starts_s, 1e3),
        _row(f"{kind}: enqueue to result in Redis, ms", results_s, 1e3),
    ]


async def _refill(pool: ArqRedis, settings: RedisSettings, kind: str) -> Row:
    ended, all_ended = 0, asyncio.Event()

    async def nap(ctx: dict[Any, Any]) -> None:
        nonlocal ended
        await asyncio.sleep(0.05)
        ended += 1
        if ended == 60:
            all_ended.set()

    async with _running(kind, 1, settings, functions=[func(nap, name="nap")]):
        started_at = time.perf_counter()
        for _ in range(60):
            await pool.enqueue_job("nap")
        await all_ended.wait()
    return _row(f"{kind}: 60 jobs of 50 ms on 10 slots, s", [time.perf_counter() - started_at], 1)


async def _busy(pool: ArqRedis, settings: RedisSettings, kind: str) -> Row:
    running = 0

    async def nap(ctx: dict[Any, Any]) -> None:
        nonlocal running
        running += 1
        try:
            await asyncio.sleep(_NAP_S)
        finally:
            running -= 1

    shares = []
    async with _running(kind, _WORKERS, settings, functions=[func(nap, name="nap")]):
        for _ in range(_WORKERS * 5):
            await asyncio.gather(*(pool.enqueue_job("nap") for _ in range(_SLOTS)))
        counted_from = time.perf_counter() + 5
        while time.perf_counter() < counted_from + 2:
            await asyncio.sleep(0.02)
            if time.perf_counter() > counted_from:
                shares.append(running / (_WORKERS * _SLOTS))
    return _row(f"{kind}: slots in use, 25 workers of 10, jobs of 2 s, after 5 s, %", shares, 100)


def _row(what: str, values: Sequence[float], unit: float) -> Row:
    return {"what": what, **{f"p{p}": percentile(values, p) * unit for p in (50, 99)}, "count": len(values)}


class _running:
    """Workers for a block."""

    def __init__(self, kind: str, count: int, settings: RedisSettings, **options: Any) -> None:
        self.workers = [
            _KINDS[kind](redis_settings=settings, handle_signals=False, max_jobs=_SLOTS, **options)
            for _ in range(count)
        ]

    async def __aenter__(self) -> list[StockWorker]:
        self.tasks = [asyncio.create_task(worker.main()) for worker in self.workers]
        await asyncio.sleep(0.3)
        return self.workers

    async def __aexit__(self, *exc: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for worker in self.workers:
            await worker.pool.flushdb()
            await worker.pool.aclose()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
