"""Settled LLM jobs per second of one worker process, beside a bare loop of calls to the same provider.

The provider answers at once, or after 200 ms. With --peers also what one builds by hand (stock arq with an SDK) and
loops of the SDKs alone, each in an environment of its own, against the same provider in the same run.
"""

import argparse
import asyncio
import statistics
from collections.abc import Callable
from typing import Any

import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport

from bench.stage import TEXT, Stage, fill_and_drain, stage
from bench.support import Bench, Run, median_run
from bench.workers.peers.setup import BUILT_BY_HAND, SDKS, run_built_by_hand, run_sdk

JOBS, BARE_CALLS, PEER_JOBS = 8_000, 3_000, 2_000
CASES = ((64, "0ms"), (512, "0ms"), (512, "200ms"))
SLOW_POOL = 200
"""In flight from which on httpx' own pool is too slow to be waited for."""
BODY = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": TEXT}],
    "max_completion_tokens": 1024,
}


def _bare(bench: Bench, on: Stage, concurrency: int, transport: httpx.AsyncBaseTransport | None) -> Run:
    """The same number of calls in flight, and nothing but calls: no queue, no journal, no result."""
    calls = BARE_CALLS if transport is not None else BARE_CALLS // 4

    async def run() -> Run:
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        async with httpx.AsyncClient(transport=transport, limits=limits, timeout=60, trust_env=False) as client:
            left = iter(range(calls))

            async def caller() -> None:
                for _ in left:
                    response = await client.post(f"{on.provider_url}/chat/completions", json=BODY)
                    response.raise_for_status().json()

            watch = bench.stopwatch()
            await asyncio.gather(*(caller() for _ in range(concurrency)))
            return watch.stop(calls)

    return uvloop.run(run())


def _over_aiohttp(bench: Bench, on: Stage, concurrency: int) -> Run:
    return _bare(bench, on, concurrency, AiohttpTransport(limits=httpx.Limits(max_connections=concurrency)))


def _rows(bench: Bench, concurrency: int, latency: str) -> list[dict[str, Any]]:
    case = f"{concurrency} x {latency}"
    with stage(bench, concurrency=concurrency, latency=latency) as on:
        jobs: list[tuple[Run, float]] = []
        aiohttp: list[Run] = []
        own: list[Run] = []
        for _ in range(bench.rounds):
            if concurrency < SLOW_POOL:
                own.append(_bare(bench, on, concurrency, None))
            aiohttp.append(_over_aiohttp(bench, on, concurrency))
            jobs.append(fill_and_drain(bench, on, JOBS))
        peers = _peers(bench, on, concurrency) if bench.arguments.peers and case != "512 x 0ms" else {}
    ours, base = median_run([run for run, _ in jobs]), median_run(aiohttp)
    reads = statistics.median(reads for _, reads in jobs)
    rows = [_row("penstock worker", case, ours.per_s, _cpu_ms(ours, "workers_cpu_s"), ours, base, f"{reads:.2f}")]
    if own:
        rows.append(
            _row("bare loop, httpx", case, median_run(own).per_s, _cpu_ms(median_run(own), "cpu_s"), ours, base)
        )
    rows.append(_row("bare loop, httpx over aiohttp", case, base.per_s, _cpu_ms(base, "cpu_s"), ours, base))
    return rows + [_row(name, case, per_s, cpu_ms, ours, base) for name, (per_s, cpu_ms) in peers.items()]


def _peers(bench: Bench, on: Stage, concurrency: int) -> dict[str, tuple[float, float]]:
    """Jobs (or calls) per second and CPU ms of each: the median of the rounds."""
    ways: dict[str, Callable[[], dict[str, float]]] = {
        **{f"arq + {how}": _by_hand(on, how, concurrency) for how in BUILT_BY_HAND},
        **{f"{sdk} alone": _sdk(on, sdk, concurrency) for sdk in SDKS},
    }
    return {name: _median_figures([way() for _ in range(bench.rounds)]) for name, way in ways.items()}


def _by_hand(on: Stage, how: str, concurrency: int) -> Callable[[], dict[str, float]]:
    return lambda: run_built_by_hand(how, on.redis_url, on.provider_url, concurrency, PEER_JOBS)


def _sdk(on: Stage, sdk: str, concurrency: int) -> Callable[[], dict[str, float]]:
    return lambda: run_sdk(sdk, on.provider_url, concurrency, PEER_JOBS)


def _median_figures(rounds: list[dict[str, float]]) -> tuple[float, float]:
    middle = sorted(rounds, key=lambda figures: figures["wall_s"])[len(rounds) // 2]
    return PEER_JOBS / middle["wall_s"], middle["cpu_s"] / PEER_JOBS * 1e3


def _cpu_ms(run: Run, which: str) -> float:
    return (getattr(run, which) or 0.0) * 1e3 / run.items


def _row(what: str, case: str, per_s: float, cpu_ms: float, ours: Run, base: Run, reads: str = "") -> dict[str, Any]:
    return {
        "what": what,
        "in flight": case,
        "per_s": per_s,
        "penstock to it": ours.per_s / per_s,
        "cpu_ms_each": cpu_ms,
        "of a bare call's": cpu_ms / _cpu_ms(base, "cpu_s"),
        "redis round trips each": reads,
    }


def main(argv: list[str]) -> int:
    """Measure at 64 and 512 jobs in flight."""
    with Bench.start(__doc__, argv, rounds=3, add_options=_options) as bench:
        bench.report([row for case in CASES for row in _rows(bench, *case)])
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--peers", action="store_true", help="also SDKs, and jobs of stock arq, in environments made for them"
    )
