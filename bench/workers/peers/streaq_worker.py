"""streaQ: `python streaq_worker.py URL CONCURRENCY JOBS NAP_S`. Timed to the last function's end, in its favour."""

import asyncio
import json
import sys
import time

import uvloop
from streaq import Worker

url, concurrency, jobs, nap_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
worker = Worker(redis_url=url, concurrency=concurrency, handle_signals=False)
done, finished = 0, asyncio.Event()


@worker.task
async def work(number: int) -> int:
    """The job."""
    global done
    if nap_s:
        await asyncio.sleep(nap_s)
    done += 1
    if done == jobs:
        finished.set()
    return number


async def main():
    async with worker:
        for first in range(0, jobs, 500):
            await worker.enqueue_many([work.enqueue(i) for i in range(first, min(jobs, first + 500))])
    started_at, cpu_s = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.run_async())
    await finished.wait()
    print(json.dumps({"wall_s": time.perf_counter() - started_at, "cpu_s": time.process_time() - cpu_s}), flush=True)
    running.cancel()
    await asyncio.wait([running])


uvloop.install()
asyncio.run(main())
