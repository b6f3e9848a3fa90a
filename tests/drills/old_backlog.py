"""Jobs that wait for longer than anything about them may live after its end: all of them run, none is forgotten."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack

from penstock import Producer, Retention, Summarize
from tests.drills import kit
from tests.drills.verdict import Verdict
from tests.support.processes import ChildProcess
from tests.support.worker_processes import worker_argv


def main(argv: Sequence[str]) -> int:
    return kit.run("old_backlog", argv, backlog)


def backlog(verdict: Verdict, options: kit.Options) -> None:
    jobs, day_s = options.pick((100, 2.0), (200, 10.0))
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="20ms", count=0)
        ids = asyncio.run(_enqueue(here.server.url, jobs, day_s))
        time.sleep(2 * day_s)  # two days, in the drill's own time
        again = asyncio.run(_enqueue(here.server.url, jobs, day_s))
        with here.redis() as client:
            due = client.zcard("penstock:q:standard:drill")
            mortal = [
                key for key in client.scan_iter(count=1000) if client.ttl(key) != -1 and not key.endswith(":arrivals")
            ]
        worker = stack.enter_context(ChildProcess(worker_argv(here.folder / "penstock.toml")))
        took_s = kit.wait_quiet(here, 60)
        with here.redis() as client:
            ended = int(client.hget("penstock:counts", "succeeded") or 0)  # type: ignore[arg-type]
        verdict.exactly("jobs that waited", due, jobs)
        verdict.exactly("of them known by their keys after two days", len(set(ids) & set(again)), jobs)
        verdict.none_of("keys that expire while their job waits", mortal)
        verdict.exactly("ended as succeeded", ended, jobs)
        verdict.at_most("s until all had ended", round(took_s, 1), 60, speed=True)
        verdict.exactly("exit code of the worker", worker.close(), 0)


async def _enqueue(url: str, jobs: int, day_s: float) -> list[str]:
    """The same jobs, by the same keys; whatever is kept for a time after the end is kept for a day."""
    retention = Retention(idempotency_s=day_s, result_s=day_s, dead_s=day_s)
    async with Producer.connect(url, tenant="drill", retention=retention) as producer:
        texts = [Summarize(text=kit.TEXT.format(n)) for n in range(jobs)]
        handles = await producer.enqueue_many(texts, idempotency_keys=[f"key-{n}" for n in range(jobs)])
        return [job.id for job in handles]
