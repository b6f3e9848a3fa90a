"""dramatiq: `python dramatiq_worker.py URL CONCURRENCY JOBS NAP_S`; threads, results stored."""

import json
import sys
import threading
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

url, concurrency, jobs, nap_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
broker = RedisBroker(url=url)
broker.add_middleware(Results(backend=RedisBackend(url=url), store_results=True))
dramatiq.set_broker(broker)
finished, lock, done = threading.Event(), threading.Lock(), 0


@dramatiq.actor
def work(number):
    """The job."""
    if nap_s:
        time.sleep(nap_s)
    return number


class Count(dramatiq.Middleware):
    """Sees the end of each job."""

    def after_process_message(self, broker, message, *, result=None, exception=None):
        global done
        with lock:
            done += 1
            if done == jobs:
                finished.set()


broker.add_middleware(Count())
for number in range(jobs):
    work.send(number)
worker = dramatiq.Worker(broker, worker_threads=concurrency)
started_at, cpu_s = time.perf_counter(), time.process_time()
worker.start()
finished.wait()
print(json.dumps({"wall_s": time.perf_counter() - started_at, "cpu_s": time.process_time() - cpu_s}), flush=True)
worker.stop()
