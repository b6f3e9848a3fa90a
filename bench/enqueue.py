"""Enqueue: the latency of one job, and jobs per second of a bulk and of many tasks at once."""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.support import Bench, Run, latency_columns, median_run
from penstock import Producer, Summarize

Measure = Callable[[Bench, Producer, list[Summarize]], Awaitable[Run]]

WARM_UP = 200
"""Jobs before the clock runs: the connection is made and the scripts are known."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs of a bulk (default: %(default)s)")
    parser.add_argument("--singles", type=int, default=2_000, help="jobs one by one (default: %(default)s)")
    parser.add_argument("--text-bytes", type=int, default=3_000, help="of each job's text (default: %(default)s)")


def _texts(count: int, size: int) -> list[Summarize]:
    """Inputs, no two alike, of words."""
    words = "The pump of hall 2 was stopped at noon, since its bearing was 20 degrees warmer than the day before. "
    return [Summarize(text=f"{n}. {words * (size // len(words) + 1)}"[:size]) for n in range(count)]


async def _many(bench: Bench, producer: Producer, asked: list[Summarize]) -> Run:
    watch = bench.stopwatch()
    await producer.enqueue_many(asked)
    return watch.stop(len(asked))


async def _at_once(bench: Bench, producer: Producer, asked: list[Summarize]) -> Run:
    watch = bench.stopwatch()
    await asyncio.gather(*(producer.enqueue(one) for one in asked))
    return watch.stop(len(asked))


async def _singles(producer: Producer, asked: list[Summarize]) -> list[float]:
    latencies_s = []
    for n, one in enumerate(asked):
        start = time.perf_counter()
        await producer.enqueue(one, idempotency_key=f"key-{n}")
        latencies_s.append(time.perf_counter() - start)
    return latencies_s


async def _round(bench: Bench, measure: Measure, asked: list[Summarize]) -> Run:
    bench.flush()
    async with Producer.connect(bench.server.url) as producer:
        await producer.enqueue_many(_texts(WARM_UP, 100))
        return await measure(bench, producer, asked)


async def _latencies(bench: Bench, asked: list[Summarize]) -> list[float]:
    bench.flush()
    async with Producer.connect(bench.server.url) as producer:
        await producer.enqueue_many(_texts(WARM_UP, 100))
        return await _singles(producer, asked)


def main(argv: list[str]) -> int:
    """Report latencies of single enqueues over all rounds, and the median round of the two ways to send many."""
    with Bench.start(__doc__, argv, rounds=3, add_options=_options) as bench:
        size = bench.arguments.text_bytes
        singles, many = _texts(bench.arguments.singles, size), _texts(bench.arguments.jobs, size)
        latencies_s = [s for _ in range(bench.rounds) for s in asyncio.run(_latencies(bench, singles))]
        bench.report([{"what": "enqueue, one by one, with a key", **latency_columns(latencies_s)}])
        ways: dict[str, Measure] = {"enqueue_many": _many, "enqueue, all at once": _at_once}
        rows = []
        for name, measure in ways.items():
            runs = [asyncio.run(_round(bench, measure, many)) for _ in range(bench.rounds)]
            rows.append({"what": name, **median_run(runs).columns()})
        bench.report(rows)
    return 0
