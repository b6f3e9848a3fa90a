"""SAQ: `python saq_worker.py URL CONCURRENCY JOBS NAP_S`."""

import asyncio
import json
import sys
import time

import uvloop
from saq import Queue, Worker


async def work(ctx, *, number, nap_s):
    """The job."""
    if nap_s:
        await asyncio.sleep(nap_s)
    return number


async def main(url, concurrency, jobs, nap_s):
    queue = Queue.from_url(url)
    await queue.connect()
    for first in range(0, jobs, 500):
        numbers = range(first, min(jobs, first + 500))
        await asyncio.gather(*[queue.enqueue("work", number=i, nap_s=nap_s) for i in numbers])
    done, finished = 0, asyncio.Event()

    async def after(ctx):
        nonlocal done
        done += 1
        if done == jobs:
            finished.set()

    worker = Worker(queue, functions=[work], concurrency=concurrency, after_process=after)
    started_at, cpu_s = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.start())
    await finished.wait()
    print(json.dumps({"wall_s": time.perf_counter() - started_at, "cpu_s": time.process_time() - cpu_s}), flush=True)
    await worker.stop()
    running.cancel()


uvloop.install()
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
