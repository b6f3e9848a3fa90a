"""taskiq with taskiq-redis: `python taskiq_worker.py URL CONCURRENCY JOBS NAP_S`; list queue, results stored."""

import asyncio
import json
import sys
import time

import uvloop
from taskiq.api import run_receiver_task
from taskiq.middlewares import SimpleRetryMiddleware
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

url, concurrency, jobs, nap_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
broker = ListQueueBroker(url).with_result_backend(RedisAsyncResultBackend(url, result_ex_time=3600))
done, finished = 0, asyncio.Event()


class Count(SimpleRetryMiddleware):
    """Sees the end of each job, after its result was stored."""

    async def post_save(self, message, result):
        global done
        done += 1
        if done == jobs:
            finished.set()


broker.add_middlewares(Count())


@broker.task
async def work(number: int) -> int:
    """The job."""
    if nap_s:
        await asyncio.sleep(nap_s)
    return number


async def main():
    await broker.startup()
    for first in range(0, jobs, 500):
        await asyncio.gather(*[work.kiq(i) for i in range(first, min(jobs, first + 500))])
    started_at, cpu_s = time.perf_counter(), time.process_time()
    running = asyncio.create_task(run_receiver_task(broker, max_async_tasks=concurrency, run_startup=False))
    await finished.wait()
    print(json.dumps({"wall_s": time.perf_counter() - started_at, "cpu_s": time.process_time() - cpu_s}), flush=True)
    running.cancel()


uvloop.install()
asyncio.run(main())
