"""Claiming from a long queue: time per job with 1,000 and with 1,000,000 jobs waiting.

Measured in the client, around claims of 32 jobs over a warm connection; what was claimed is finished before the
next claim, unmeasured. The two queues are in servers of their own and are measured in turns, so that whatever else the
machine does falls on both. Also the bytes that Redis holds per queued job with a payload of 2 KB.
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
from penstock_store.server import RedisServer
from penstock_worker.engine import ArqQueue
from penstock_worker.engine.sources import Ask

_FINISH = load_script("penstock_worker.engine", "finish")
_TURNS, _CLAIMS, _SLOTS = 15, 31, 32  # 31 x 32 jobs: the short queue is nearly emptied and filled again
_PAYLOAD = "x" * 2000


def main(argv: list[str]) -> int:
    """Run the benchmark and print its rows."""
    with (
        Bench.start(__doc__, argv, rounds=1, add_options=_options) as bench,
        RedisServer(binary=bench.server.binary) as long_one,
    ):
        queues = [_Queue(bench.server.url, 1000), _Queue(long_one.url, bench.arguments.jobs)]
        for _ in range(_TURNS * bench.rounds):
            for queue in queues:
                asyncio.run(queue.claim_some())
        bench.report([queue.row(queues[0]) for queue in queues])
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1_000_000, help="the long queue (default: %(default)s)")


class _Queue:
    """A queue of so many waiting jobs, and how long each claim from it took."""

    def __init__(self, url: str, waiting: int) -> None:
        self.url, self.waiting = url, waiting
        self.times_s: list[float] = []
        fill(url, waiting, "noop", 1)

    async def claim_some(self) -> None:
        """One turn: claims until a thousand jobs are through."""
        client = Redis.from_url(self.url)
        batcher, source = Batcher(client), ArqQueue(default_queue_name)
        for _ in range(_CLAIMS):
            started_at = time.perf_counter()
            claim = await source.claim(batcher, Ask(_SLOTS, 10.0, idle=True, patience_s=1))
            self.times_s.append(time.perf_counter() - started_at)
            args: list[Any] = [part for lease in claim.leases for part in (lease.raw_id, lease.token, "", 0, "")]
            await batcher.call(_FINISH, [lease.queue for lease in claim.leases], args)
        await client.aclose()
        await asyncio.to_thread(fill, self.url, _CLAIMS * _SLOTS, "noop", 1)

    @property
    def us_per_job(self) -> float:
        """The median claim, by its jobs."""
        return statistics.median(self.times_s) / _SLOTS * 1e6

    def row(self, short: "_Queue") -> Row:
        """A row of the report; *short* is what it is compared with."""
        return {
            "what": "engine: claims of 32",
            "waiting": self.waiting,
            "claim_us_per_job": self.us_per_job,
            "of_the_short_one": self.us_per_job / short.us_per_job,
            "bytes_per_job": _bytes_per_job(self.url),
            "payload_bytes": len(_PAYLOAD),
        }


def _bytes_per_job(url: str) -> float:
    """What 2,000 more jobs with a payload of 2 KB cost."""
    with redis.Redis.from_url(url) as client:
        before = _used(client)
        fill(url, 2000, "noop", _PAYLOAD)
        return (_used(client) - before) / 2000


def _used(client: redis.Redis) -> int:
    return int(cast("dict[str, int]", client.info("memory"))["used_memory"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
