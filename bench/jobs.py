"""Settled LLM jobs per second of one worker process, beside a bare loop of httpx calls to the same provider."""

import asyncio
import statistics
from typing import Any

import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport

from bench.stage import TEXT, Stage, fill_and_drain, stage
from bench.support import Bench, Run, median_run

JOBS = 4_000
BARE_CALLS = 1_500
BODY = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": TEXT}],
    "max_completion_tokens": 1024,
}


def _bare(bench: Bench, on: Stage, concurrency: int, transport: httpx.AsyncBaseTransport | None) -> Run:
    """The same number of calls in flight, and nothing but calls: no queue, no journal, no result."""

    async def run() -> Run:
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        async with httpx.AsyncClient(transport=transport, limits=limits, timeout=60, trust_env=False) as client:
            left = iter(range(BARE_CALLS))

            async def caller() -> None:
                for _ in left:
                    response = await client.post(f"{on.provider_url}/chat/completions", json=BODY)
                    response.raise_for_status().json()

            watch = bench.stopwatch()
            await asyncio.gather(*(caller() for _ in range(concurrency)))
            return watch.stop(BARE_CALLS)

    return uvloop.run(run())


def _rows(bench: Bench, concurrency: int) -> list[dict[str, Any]]:
    with stage(bench, concurrency=concurrency) as on:
        jobs: list[Run] = []
        reads: list[float] = []
        own: list[Run] = []
        aiohttp: list[Run] = []
        for _ in range(bench.rounds):
            own.append(_bare(bench, on, concurrency, None))
            limits = httpx.Limits(max_connections=concurrency)
            aiohttp.append(_bare(bench, on, concurrency, AiohttpTransport(limits=limits)))
            run, reads_per_job = fill_and_drain(bench, on, JOBS)
            jobs.append(run)
            reads.append(reads_per_job)
    base = median_run(own).per_s
    return [
        _row("bare loop, httpx", concurrency, median_run(own), base, "cpu_s", ""),
        _row("bare loop, httpx over aiohttp", concurrency, median_run(aiohttp), base, "cpu_s", ""),
        _row(
            "penstock worker", concurrency, median_run(jobs), base, "workers_cpu_s", f"{statistics.median(reads):.2f}"
        ),
    ]


def _row(what: str, concurrency: int, run: Run, base: float, cpu: str, reads: str) -> dict[str, Any]:
    return {
        "what": what,
        "in flight": concurrency,
        "per_s": run.per_s,
        "of the bare loop": run.per_s / base,
        "cpu_ms_each": (getattr(run, cpu) or 0.0) * 1e3 / run.items,
        "redis round trips each": reads,
    }


def main(argv: list[str]) -> int:
    """Measure at 64 and 512 jobs in flight."""
    with Bench.start(__doc__, argv, rounds=3) as bench:
        bench.report([row for concurrency in (64, 512) for row in _rows(bench, concurrency)])
    return 0
