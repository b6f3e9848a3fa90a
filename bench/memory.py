"""Resident memory of one worker over many no-op jobs, as a slope: bytes per job.

The queue is filled, run empty, and the worker's memory read, again and again. The slope is fitted (least squares)
to the second half of the readings; a tenth of a byte per job is 100 KB over a million jobs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import redis
from arq.constants import default_queue_name

from bench.support import Bench, Row
from bench.workers.jobs import fill

_WORKER = """
import sys, uvloop
from arq.connections import RedisSettings
from bench.workers.process import noop
from penstock_worker.engine import Worker
uvloop.install()
Worker([noop], redis_settings=RedisSettings.from_dsn(sys.argv[1]), max_jobs=256, keep_result=1).run()
"""
_READINGS, _POLL_S, _TIMEOUT_S = 50, 0.01, 120.0


def main(argv: list[str]) -> int:
    """Run the benchmark and print its row."""
    with Bench.start(__doc__, argv, rounds=1, add_options=_options) as bench:
        jobs = 1_000_000 if bench.arguments.long else bench.arguments.jobs
        bench.report([_row(bench, jobs) for _ in range(bench.rounds)])
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs in all (default: %(default)s)")
    parser.add_argument("--long", action="store_true", help="1,000,000 jobs")


def _row(bench: Bench, jobs: int) -> Row:
    bench.flush()
    each = jobs // _READINGS
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, bench.server.url])
    try:
        readings = [_after(bench, worker.pid, each) for _ in range(_READINGS)]
    finally:
        worker.terminate()
        worker.wait()
    half = _READINGS // 2
    slope = statistics.linear_regression(range(half, _READINGS), readings[half:]).slope / each
    return {
        "what": "engine: no-op, 256 at once",
        "jobs": each * _READINGS,
        "first_mib": readings[0] / 2**20,
        "half_way_mib": readings[half] / 2**20,
        "last_mib": readings[-1] / 2**20,
        "bytes_per_job": slope,
    }


def _after(bench: Bench, pid: int, jobs: int) -> int:
    """Resident bytes of the process after *jobs* more jobs."""
    fill(bench.server.url, jobs, "noop", 1)
    deadline = time.monotonic() + _TIMEOUT_S
    with redis.Redis.from_url(bench.server.url) as client:
        while client.zcard(default_queue_name):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{jobs} jobs were not done within {_TIMEOUT_S} s")
            time.sleep(_POLL_S)
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
