"""A worker is killed in the middle of a job: how long until another has started it again, at default settings.

Each kill has a queue of its own: a process that runs one job of it, and a second worker, idle, that waits. The
victims are killed at different points of their heartbeats. Beside them a live worker runs a job longer than a
lease, which must not be started twice.
"""

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import time
from typing import Any

from arq.connections import RedisSettings, create_pool
from arq.worker import func

from bench.support import Bench, latency_columns
from penstock_worker.engine import Worker

_VICTIM = """
import asyncio, sys
from arq.connections import RedisSettings
from penstock_worker.engine import Worker
async def work(ctx):
    print("started", flush=True)
    await asyncio.sleep(3600)
Worker([work], redis_settings=RedisSettings.from_dsn(sys.argv[1]), queue_name=sys.argv[2]).run()
"""


def main(argv: list[str]) -> int:
    """Run the benchmark and print its row."""
    with Bench.start(__doc__, argv, rounds=1, add_options=_options) as bench:
        bench.report([asyncio.run(_kills(bench, bench.arguments.kills))])
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=20, help="workers killed (default: %(default)s)")


async def _kills(bench: Bench, kills: int) -> dict[str, object]:
    settings = RedisSettings.from_dsn(bench.server.url)
    pool = await create_pool(settings)
    live_runs, live = 0, asyncio.Event()

    async def long(ctx: dict[Any, Any]) -> None:
        nonlocal live_runs
        live_runs += 1
        live.set()
        await asyncio.sleep(3600)

    beside = [
        Worker([func(long, name="long")], redis_settings=settings, queue_name="live", handle_signals=False)
        for _ in range(2)
    ]
    serving = [asyncio.create_task(worker.main()) for worker in beside]
    await pool.enqueue_job("long", _queue_name="live")
    await live.wait()
    delays_s = await asyncio.gather(*[_kill(bench, pool, f"queue-{i}", i * 0.15) for i in range(kills)])
    for task in serving:
        task.cancel()
    await asyncio.wait(serving)
    for worker in beside:
        await worker.close()
    await pool.aclose()
    return {"what": "SIGKILL to the next start", **latency_columns(delays_s), "live_runs": live_runs}


async def _kill(bench: Bench, pool: Any, queue: str, offset_s: float) -> float:
    await pool.enqueue_job("work", _queue_name=queue)
    command = [sys.executable, "-c", _VICTIM, bench.server.url, queue]
    victim = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE)
    assert victim.stdout is not None
    await asyncio.to_thread(victim.stdout.readline)
    again = asyncio.Event()

    async def work(ctx: dict[Any, Any]) -> None:
        again.set()

    settings = RedisSettings.from_dsn(bench.server.url)
    worker = Worker([func(work, name="work")], redis_settings=settings, queue_name=queue, handle_signals=False)
    serving = asyncio.create_task(worker.main())
    await asyncio.sleep(offset_s + random.uniform(0, 3))
    victim.send_signal(signal.SIGKILL)
    killed_at = time.perf_counter()
    await again.wait()
    delay_s = time.perf_counter() - killed_at
    victim.wait()
    serving.cancel()
    await asyncio.wait([serving])
    await worker.close()
    return delay_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
