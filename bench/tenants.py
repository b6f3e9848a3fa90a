"""Many tenants, and one that floods: claim time per job, and how late another tenant's jobs start.

Claim times as in the backlog benchmark. Delays: jobs of 20 ms, 20 slots; tenant ``small`` queues 20 jobs a second,
alone, and while tenant ``flood`` has 100,000 jobs waiting. The delay is from enqueue to start; without spare slots
it holds the wait for one of 20 slots, which flood keeps full.
"""

import asyncio
import logging
import statistics
import sys
import time
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import Redis

from bench.support import Bench, Row, latency_columns
from penstock_schemas import keys
from penstock_store.batcher import Batcher
from penstock_store.scripts import Script, load_include
from penstock_worker.engine import FairQueues, Lease, Worker
from penstock_worker.engine.sources import Ask
from penstock_worker.settings import WorkerSection

_LANE = "standard"
_START = "local function start(job_id) return job_id end"
_RELEASE = Script(load_include("penstock_store", "lease") + "\nlease_release(KEYS[1], ARGV[1])")
_PUT = Script(
    load_include("penstock_store", "record")
    + load_include("penstock_store", "queue")
    + "\nqueue_put(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], now_ms(), now_ms())"
)
_CLAIMS, _SLOTS = 300, 32
_NAP_S, _PERIOD_S, _SMALL_JOBS = 0.02, 0.05, 200


def main(argv: list[str]) -> int:
    """Run the benchmark and print its rows."""
    logging.getLogger("arq.worker").setLevel(logging.ERROR)  # each round ends with jobs of flood under way
    with Bench.start(__doc__, argv, rounds=1) as bench:
        rows = [asyncio.run(_claims(bench, tenants)) for tenants in (1, 10_000)]
        spare = WorkerSection().spare_slots
        rows += [asyncio.run(_delays(bench, *case)) for case in ((0, spare), (100_000, spare), (100_000, 0.0))]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        bench.report([{column: row.get(column, "") for column in columns} for row in rows])
    return 0


async def _claims(bench: Bench, tenants: int) -> Row:
    bench.flush()
    client = Redis.from_url(bench.server.url)
    await _fill(client, [f"t{i}" for i in range(tenants)], 20_000 // tenants)
    batcher, source, times_s = Batcher(client), _source(None), []
    for _ in range(_CLAIMS):
        started_at = time.perf_counter()
        claim = await source.claim(batcher, Ask(_SLOTS, 10.0, idle=True, patience_s=1))
        times_s.append(time.perf_counter() - started_at)
        for lease in claim.leases:
            await batcher.call(_RELEASE, [lease.queue], [lease.job_id])
    await client.aclose()
    return {"what": f"claims of 32, {tenants:,} tenants", "claim_us_per_job": statistics.median(times_s) / 32 * 1e6}


async def _delays(bench: Bench, flood: int, spare: float) -> Row:
    bench.flush()
    queued_at: dict[str, float] = {}
    delays_s: list[float] = []
    finished = asyncio.Event()

    async def handle(ctx: dict[Any, Any], lease: Lease) -> None:
        if lease.tenant == "small":
            delays_s.append(time.perf_counter() - queued_at[lease.job_id])
            if len(delays_s) == _SMALL_JOBS:
                finished.set()
        await asyncio.sleep(_NAP_S)
        await worker.batcher.call(_RELEASE, [lease.queue], [lease.job_id])
        lease.released = True

    client = ArqRedis.from_url(bench.server.url)
    if flood:
        await _fill(client, ["flood"], flood)
    worker = Worker(source=_source(handle, spare), redis_pool=client, max_jobs=20, handle_signals=False)
    serving = asyncio.create_task(worker.main())
    batcher = Batcher(Redis.from_url(bench.server.url))
    names = [keys.queue(_LANE, "small"), keys.ring(_LANE), keys.wait(_LANE)]
    for i in range(_SMALL_JOBS):
        await asyncio.sleep(_PERIOD_S)
        queued_at[f"small-{i}"] = time.perf_counter()
        await batcher.call(_PUT, names, ["small", f"small-{i}"])
    async with asyncio.timeout(60):
        await finished.wait()
    serving.cancel()
    await asyncio.wait([serving])
    await worker.close()
    what = f"start delay of small, {flood:,} jobs of flood waiting" + ("" if spare else ", no spare slots")
    return {"what": what, **latency_columns(delays_s)}


def _source(handler: Any, spare: float = 0.0) -> FairQueues:
    return FairQueues(handler=handler, start_lua=_START, lanes={_LANE: 1}, spare_slots=spare)


async def _fill(client: Redis, tenants: list[str], each: int) -> None:
    for first in range(0, len(tenants), 500):
        async with client.pipeline(transaction=False) as pipe:
            for tenant in tenants[first : first + 500]:
                pipe.zadd(keys.queue(_LANE, tenant), {f"{tenant}-{i}": 1 for i in range(each)})
                pipe.zadd(keys.ring(_LANE), {tenant: 0})
            await pipe.execute()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
