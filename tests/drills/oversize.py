"""A gzip bomb, a gigabyte on one line, endless headers: each is cut at its cap, and the neighbours notice nothing."""

import asyncio
import math
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from penstock import Classify, Producer
from penstock_simulator.process import SimulatorProcess
from tests.drills import kit
from tests.drills.stage import Stage, stage
from tests.drills.verdict import Verdict
from tests.support.worker_processes import worker_argv, write_config

_MIB = 2**20
_HOSTILE = """
[providers.hostile]
kind = "openai"
base_url = "{}"
allow_private = true
price_refs = {{ "gpt-4o-mini" = "openai/gpt-4o-mini" }}
[routes.classify]
targets = ["hostile/gpt-4o-mini"]
"""


def main(argv: Sequence[str]) -> int:
    return kit.run("oversize", argv, oversize)


def oversize(verdict: Verdict, options: kit.Options) -> None:
    times, (neighbours, huge_mib) = 3, options.pick((90, 256), (300, 1024))
    bombs = {
        "gzip-bomb mib=200": "response_too_large",
        f"huge-body mib={huge_mib}": "response_too_large",
        "endless-headers count=200000": "bad_response",
        "long-header kib=51200": "bad_response",
    }
    with ExitStack() as stack:
        other_bill = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bill.jsonl"
        other = stack.enter_context(SimulatorProcess(bill=other_bill))
        here = stack.enter_context(stage(_argv(other.base_url), workers=1, latency="50ms"))
        here.workers.wait_started(1)
        here.workers.started[0].wait_event("worker_started", timeout_s=30)
        pid = here.workers.started[0].pid
        alone = [*_work(here, neighbours), *_work(here, neighbours)]
        before = _rss_bytes(pid)
        with _peak(pid) as peak:
            hostile = asyncio.run(_enqueue(here.server.url, bombs, times))
            beside = _work(here, neighbours)
            kit.wait_quiet(here, 60)
        lengths_s = [((call.ended_at_ms or math.inf) - call.started_at_ms) / 1000 for call in other.calls()]
        here.workers.stop()
        ends = _errors(here, hostile)
        grown_s = _p99_s(here, beside) - _p99_s(here, alone[neighbours:])
        what = f"answers of up to {huge_mib} MiB, cut"
        verdict.exactly(what, ends, Counter(code for code in bombs.values() for _ in range(times)))
        verdict.at_most("MiB that the worker grew by at most", round((peak[0] - before) / _MIB, 1), 32)
        verdict.at_most(
            "s from the question to the cut at most", round(max(lengths_s), 2), options.pick(4.0, 2.0), speed=True
        )
        verdict.at_most("s that the neighbours' p99 grew by", round(grown_s, 3), 0.2, speed=True)
        verdict.exactly("neighbours that succeeded", kit.states(here, [*alone, *beside])["succeeded"], 3 * neighbours)
        here.check(verdict, [*alone, *hostile, *beside], bills=[other_bill])


def _argv(hostile_url: str) -> Callable[[Path, str, str], list[str]]:
    """A worker for two providers: the neighbours' for summaries, the hostile one for labels."""

    def argv(folder: Path, redis_url: str, base_url: str) -> list[str]:
        config = write_config(folder, redis_url, base_url, budgets=kit.BUDGETS, concurrency=30, breaker=False)
        with config.open("a") as file:
            file.write(_HOSTILE.format(hostile_url))
        return worker_argv(config)

    return argv


def _work(here: Stage, count: int) -> list[str]:
    """Let so many neighbours run, together with whatever else runs."""
    ids = kit.enqueue(here.server.url, count)
    kit.wait_quiet(here, 60)
    return ids


async def _enqueue(url: str, bombs: dict[str, str], times: int) -> list[str]:
    asked = [Classify(text=f"[[simulate: {spec}]]", labels=["a", "b"]) for spec in bombs for _ in range(times)]
    async with Producer.connect(url, tenant="drill") as producer:
        jobs = await producer.enqueue_many(asked, max_attempts=1, on_failure="dead_letter")
        return [job.id for job in jobs]


def _errors(here: Stage, ids: Sequence[str]) -> Counter[str]:
    """The errors that the calls ended with, by the ledger."""
    with here.redis() as client:
        rows = [row for _, row in client.xrange("penstock:ledger")]  # type: ignore[union-attr]
    return Counter(row["error"] for row in rows if row["job"] in set(ids))


def _p99_s(here: Stage, ids: Sequence[str]) -> float:
    """From start to end of an attempt, by Redis' clock."""
    with here.redis() as client:
        rows = [client.hmget(f"penstock:job:{job_id}", ["started_at", "ended_at"]) for job_id in ids]
    took = sorted(int(ended) - int(started) for started, ended in rows)  # type: ignore[misc]
    return took[math.ceil(0.99 * len(took)) - 1] / 1000


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _peak(pid: int) -> Iterator[list[int]]:
    """The most memory that the process has while the block runs, looked at all the time."""
    peak = [_rss_bytes(pid)]
    done = threading.Event()

    def go() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], _rss_bytes(pid))

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
