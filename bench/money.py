"""The price of budgets: the same jobs without any, with one scope for each call, and with twelve, turn by turn.

The ledger and its sums are always on. Each turn has a worker of its own and an empty database. Round trips and latency
are of single jobs, where none is shared, of all cases in turn, each on a Redis of its own. Twelve scopes are the global
one, the tenant's, the task's and the prompt's, by hour, day and month; none of them is ever spent.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import Any

import redis

from bench.stage import LANE, asks, drain, stage
from bench.support import Bench, Run, median_run, percentile
from penstock import Producer
from penstock.requests import check_options
from penstock_schemas import keys
from penstock_store.server import RedisServer

JOBS, ALONE, TENANTS = 3_000, 200, 10_000
_WINDOWS = ("hour", "day", "month")


@dataclass
class Case:
    """One way of working, and what was measured of it."""

    what: str
    scopes: Sequence[str]
    windows: Sequence[str]
    tenants: int = 1
    runs: list[Run] = field(default_factory=list)
    shared: list[float] = field(default_factory=list)
    """Round trips per job, where many are under way."""
    latencies_s: list[float] = field(default_factory=list)
    """From enqueue to result, one at a time."""
    alone: list[float] = field(default_factory=list)
    """Round trips per job, one at a time, those of the producer included."""

    @property
    def config(self) -> str:
        limits = "\n".join(f'{window}_usd = "1000000"' for window in self.windows)
        return "".join(f'[budgets."{scope}"]\n{limits}\n' for scope in self.scopes)


def _cases() -> list[Case]:
    twelve = ("global", "tenant:*", "task:classify", "prompt:classify@1")
    return [
        Case("off", (), ()),
        Case("1 scope", ("global",), ("day",)),
        Case("12 scopes", twelve, _WINDOWS),
        Case(f"off, {TENANTS:,} tenants", (), (), TENANTS),
        Case(f"12 scopes, {TENANTS:,} tenants", twelve, _WINDOWS, TENANTS),
    ]


def main(argv: list[str]) -> int:
    """Measure each case once a round, one after the other, and compare with the same tenants without budgets."""
    cases = _cases()
    with Bench.start(__doc__, argv, rounds=3) as bench:
        for _ in range(bench.rounds):
            _measure_alone(bench, [case for case in cases if case.tenants == 1])
            for case in cases:
                _measure(bench, case)
        bench.report([_row(case, cases[0] if case.tenants == 1 else cases[3]) for case in cases])
    return 0


def _measure(bench: Bench, case: Case) -> None:
    bench.flush()
    with stage(bench, concurrency=64, config=case.config) as on:
        with redis.Redis.from_url(on.redis_url) as client:
            client.sadd(keys.PAUSED, f"lane:{LANE}")
        count = max(JOBS, case.tenants)
        asyncio.run(_enqueue(on.redis_url, count, case.tenants))
        run, shared = drain(bench, on, count)
        case.runs.append(run)
        case.shared.append(shared)


async def _enqueue(redis_url: str, count: int, tenants: int) -> None:
    """Enqueue *count* jobs, as many for each tenant."""
    async with Producer.connect(redis_url) as producer:
        if tenants == 1:
            await producer.enqueue_many(asks(count))
            return
        for number, ask in enumerate(asks(count)):
            producer.tenant = f"t{number % tenants}"
            producer._plain = check_options(producer.tenant, {})  # a connection for each tenant would be the bench
            await producer.enqueue(ask)


def _measure_alone(bench: Bench, cases: Sequence[Case]) -> None:
    with ExitStack() as running:
        stages = []
        for case in cases:
            server = running.enter_context(RedisServer(binary=bench.server.binary))
            stages.append(
                running.enter_context(stage(bench, concurrency=8, config=case.config, redis_url=server.url)).redis_url
            )
        asyncio.run(_alone(cases, stages))


async def _alone(cases: Sequence[Case], redis_urls: Sequence[str]) -> None:
    """One job of each case after the other, so that what else the machine does falls on all alike."""
    async with AsyncExitStack() as opened:
        producers = [await opened.enter_async_context(Producer.connect(url)) for url in redis_urls]
        clients = [await opened.enter_async_context(redis.asyncio.Redis.from_url(url)) for url in redis_urls]
        before = [await _reads(client) for client in clients]
        for ask in asks(ALONE):
            for case, producer in zip(cases, producers, strict=True):
                started = time.perf_counter()
                job = await producer.enqueue(ask)
                await job.result(timeout_s=30)
                case.latencies_s.append(time.perf_counter() - started)
        for case, client, reads in zip(cases, clients, before, strict=True):
            case.alone.append((await _reads(client) - reads) / ALONE)


async def _reads(client: Any) -> int:
    info: Any = await client.info("stats")
    return int(info["total_reads_processed"])


def _row(case: Case, off: Case) -> dict[str, Any]:
    run, base = median_run(case.runs), median_run(off.runs)
    row: dict[str, Any] = {"budgets": case.what, "jobs_per_s": run.per_s, "of off": run.per_s / base.per_s}
    row |= {"redis_cpu_us_each": run.server_cpu_s * 1e6 / run.items, "worker_cpu_us_each": _worker_us(run)}
    row |= dict.fromkeys(("p50_ms", "p50_added_ms", "round trips alone", "added"), "")
    row["round trips at full speed"] = f"{statistics.median(case.shared):.2f}"
    if case.latencies_s:
        p50, off_p50 = (percentile(one.latencies_s, 50) * 1e3 for one in (case, off))
        trips, off_trips = (statistics.median(one.alone) for one in (case, off))
        row |= {"p50_ms": p50, "p50_added_ms": p50 - off_p50, "round trips alone": trips, "added": trips - off_trips}
    return row


def _worker_us(run: Run) -> float:
    return (run.workers_cpu_s or 0.0) * 1e6 / run.items
