"""Enqueue until it is refused, on a Redis with a limit: refused early and at once, and all that was accepted ends."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import redis

from penstock import EnqueueManyError, Producer, QueueFullError, Summarize
from penstock.pauses import Pauses
from tests.drills import kit
from tests.drills.verdict import Verdict
from tests.support.wait import wait_until

_MIB = 2**20
_TEXT = "The mill stands by the river, and its wheel turns day and night. " * 30
_PART = 100


def main(argv: Sequence[str]) -> int:
    return kit.run("flood", argv, flood)


def flood(verdict: Verdict, options: kit.Options) -> None:
    most_bytes = options.pick(24, 256) * _MIB
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="5ms", concurrency=30)
        with here.redis() as client:
            client.config_set("maxmemory", most_bytes)
        with _peak(here.server.url) as peak:
            ids, refused_ms = asyncio.run(_fill(here.server.url))
        waiting = len(ids)
        first_s = _drained_s(here.server.url, waiting // 2)
        rest_s = kit.wait_quiet(here, 600)
        asyncio.run(_pause("resume", here.server.url))
        here.workers.stop()
        verdict.at_least("jobs accepted", waiting, 1000)
        verdict.at_most("ms until a job was refused as queue_full", round(refused_ms, 1), 50, speed=True)
        verdict.at_most("used memory at most, of the limit", round(peak[0] / most_bytes, 3), 0.85)
        verdict.exactly("ended as succeeded", kit.states(here, ids)["succeeded"], waiting)
        verdict.at_least(
            "rate while full, of that after", round(rest_s / first_s, 2), options.pick(0.5, 0.9), speed=True
        )
        verdict.exactly("workers that ended", len(here.workers.ends), 0)
        here.check(verdict, ids)


async def _fill(url: str) -> tuple[list[str], float]:
    """Enqueue behind a pause until it is refused, then let it go; the ids, and how long one refusal takes, in ms."""
    ids: list[str] = []
    await _pause("pause", url)
    async with Producer.connect(url, tenant="drill") as producer:
        while True:
            try:
                ids += [job.id for job in await producer.enqueue_many([Summarize(text=_TEXT)] * _PART)]
            except EnqueueManyError as error:
                ids += [job.id for job in error.jobs if job is not None]
                if others := [one for one in error.errors.values() if not isinstance(one, QueueFullError)]:
                    raise others[0] from error
                break
        began = time.perf_counter()
        try:
            ids.append((await producer.enqueue(Summarize(text=_TEXT))).id)
            raise AssertionError("there was room again, though nothing ended")
        except QueueFullError:
            refused_ms = (time.perf_counter() - began) * 1000
    await _pause("resume", url)
    return ids, refused_ms


async def _pause(verb: str, url: str) -> None:
    async with Producer.connect(url, tenant="drill") as producer:
        pauses = Pauses(producer, who="drill")
        await (pauses.pause if verb == "pause" else pauses.resume)(["tenant:drill"])


def _drained_s(url: str, count: int) -> float:
    """How long it takes until so many have ended."""
    began = time.monotonic()
    with redis.Redis.from_url(url) as client:
        wait_until(lambda: int(client.hget("penstock:counts", "succeeded") or 0) >= count, 600)
    return time.monotonic() - began


@contextmanager
def _peak(url: str) -> Iterator[list[int]]:
    """The most memory in use while the block runs, looked at all the time."""
    peak = [0]
    done = threading.Event()

    def go() -> None:
        with redis.Redis.from_url(url) as client:
            while not done.wait(0.002):
                peak[0] = max(peak[0], int(client.info("memory")["used_memory"]))

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
