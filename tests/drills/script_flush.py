"""SCRIPT FLUSH ten times a second during the work: nobody sees an error, and it takes no longer."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import redis

from tests.drills import kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict

_EVERY_S = 0.1


def main(argv: Sequence[str]) -> int:
    return kit.run("script_flush", argv, flush)


def flush(verdict: Verdict, options: kit.Options) -> None:
    jobs = options.pick(300, 1000)
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="uniform:200ms..300ms")
        before, calm_s = _timed(here, jobs)
        with _flushing(here.server.url) as flushes:
            ids, flushed_s = _timed(here, jobs)
        errors = _errors(here)
        last = kit.enqueue(here.server.url, 60)
        here.simulator.until(lambda stats: stats.in_flight >= 20, timeout_s=60)
        here.server.restart()  # a new process knows no script either
        kit.wait_quiet(here, 60)
        here.workers.stop()
        ids += last
        verdict.exactly("ended as succeeded", kit.states(here, before + ids)["succeeded"], 2 * jobs + len(last))
        verdict.at_least("script flushes", len(flushes), 10)
        verdict.none_of("errors in the workers' logs", errors)
        verdict.at_most("calls beyond one per job, a restart included", kit.extra_calls(here), 0)
        verdict.exactly("workers that ended", len(here.workers.ends), 0)
        verdict.at_most("attempts charged", kit.charged(here, ids), 0)
        verdict.at_least("throughput, of that without", round(calm_s / flushed_s, 2), 0.9, speed=True)
        here.check(verdict, before + ids)


def _timed(here: Stage, jobs: int) -> tuple[list[str], float]:
    began = time.monotonic()
    ids = kit.enqueue(here.server.url, jobs)
    kit.wait_quiet(here, 120)
    return ids, time.monotonic() - began


def _errors(here: Stage) -> list[str]:
    events = [event for child in here.workers.started for event in child.events()]
    return [str(event) for event in events if event.get("level") in ("warning", "error", "critical")]


@contextmanager
def _flushing(url: str) -> Iterator[list[float]]:
    """Flush all scripts again and again while the block runs; the list of moments grows."""
    moments: list[float] = []
    done = threading.Event()

    def go() -> None:
        with redis.Redis.from_url(url) as client:
            while not done.wait(_EVERY_S):
                client.script_flush("SYNC")
                moments.append(time.monotonic())

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield moments
    finally:
        done.set()
        thread.join()
