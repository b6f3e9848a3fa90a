"""Eight processes enqueue at once into a budget with room for fifty jobs: fifty are accepted, at no moment more."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from penstock import EnqueueManyError, Producer, Summarize
from penstock.pauses import Pauses
from tests.drills import kit
from tests.drills.verdict import Verdict
from tests.support.processes import ROOT, ChildProcess
from tests.support.wait import wait_until

_PRODUCERS, _JOBS, _ROOM = 8, 500, 50
_BOUND_NANOUSD = 2_000_000
_CAP_NANOUSD = _ROOM * _BOUND_NANOUSD
_GO = "drill:go"
_SAMPLES_HZ = 100.0


def main(argv: Sequence[str]) -> int:
    if argv[:1] == ["produce"]:
        return asyncio.run(_produce(argv[1], int(argv[2])))
    return kit.run("budget_race", argv, race)


def race(verdict: Verdict, options: kit.Options) -> None:
    rounds = options.pick(1, 10)
    with ExitStack() as stack:
        budgets = {**kit.BUDGETS, "tenant:drill": {"month_usd": "0.1", "when_spent": "refuse"}}
        here = kit.worker_stage(stack, latency="uniform:20ms..200ms", budgets=budgets)
        with here.redis() as client:
            wait_until(lambda: client.hexists("penstock:budgets", "tenant:drill"), 30, what="budget that workers told")
        accepted: list[str] = []
        with _sampled(here.server.url) as most:
            for _ in range(rounds):
                free = _free(here.server.url) // _BOUND_NANOUSD
                ids, refused = _enqueue_at_once(here.server.url)
                verdict.exactly("jobs accepted, of the room there was", len(ids), free)
                verdict.exactly("the others were told", set(refused), {"budget_exceeded"} if refused else set())
                accepted += ids
                kit.wait_quiet(here, 120)
        here.workers.stop()
        with here.redis() as client:
            row = _row(client)
        verdict.at_least("samples of the budget", most.samples, 100)
        verdict.at_most("spent, held and uncertain at most, nano-USD", most.taken, _CAP_NANOUSD)
        verdict.exactly("held when all have ended", (row["held"], row.get("tokens_held", 0)), (0, 0))
        verdict.at_most("spent at the end, nano-USD", row["spent"] + row.get("uncertain", 0), _CAP_NANOUSD)
        verdict.exactly("ended as succeeded", kit.states(here, accepted)["succeeded"], len(accepted))
        here.check(verdict, accepted)


@dataclass
class Most:
    """What was taken of a budget at most."""

    taken: int = 0
    samples: int = 0


@contextmanager
def _sampled(url: str) -> Iterator[Most]:
    """Look at the budget a hundred times a second while the block runs."""
    most, over = Most(), threading.Event()

    def look() -> None:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            while not over.wait(1 / _SAMPLES_HZ):
                most.taken = max(most.taken, _taken(client))
                most.samples += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _row(client: Any) -> dict[str, int]:
    """The budget of this month; empty before its first job."""
    rows = [client.hgetall(name) for name in client.scan_iter("penstock:budget:tenant:drill:month:*")]
    return {str(name): int(value) for row in rows for name, value in row.items()}


def _taken(client: Any) -> int:
    row = _row(client)
    return sum(row.get(name, 0) for name in ("spent", "held", "uncertain"))


def _free(url: str) -> int:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return _CAP_NANOUSD - _taken(client)


def _enqueue_at_once(url: str) -> tuple[list[str], Counter[str]]:
    """Start all producers, let them go when each is ready, and the jobs when all have enqueued; ids and refusals."""
    asyncio.run(_pause("pause", url))
    shares = [_JOBS // _PRODUCERS + (n < _JOBS % _PRODUCERS) for n in range(_PRODUCERS)]
    command = ("-m", "tests.drills.budget_race", "produce", url)
    children = [ChildProcess.python(*command, str(share), cwd=ROOT) for share in shares]
    for child in children:
        child.wait_line("ready", 60)
    with redis.Redis.from_url(url) as client:
        client.set(_GO, 1, px=60_000)
    ids: list[str] = []
    refused: Counter[str] = Counter()
    for child in children:
        assert child.wait(60) == 0, child.output
        told = json.loads(child.output.splitlines()[-1])
        ids += told["ids"]
        refused.update(told["refused"])
    with redis.Redis.from_url(url) as client:
        client.delete(_GO)
    asyncio.run(_pause("resume", url))
    return ids, refused


async def _produce(url: str, count: int) -> int:
    """One producer: says that it is ready, waits for the signal, enqueues, and says what came of it."""
    async with Producer.connect(url, tenant="drill") as producer:
        print("ready", flush=True)
        while not await producer.link.execute("EXISTS", _GO):  # noqa: ASYNC110  (another process sets it)
            await asyncio.sleep(0.002)
        texts = [Summarize(text=kit.TEXT.format(n)) for n in range(count)]
        try:
            jobs = await producer.enqueue_many(texts, max_cost_usd="0.002")
            told = {"ids": [job.id for job in jobs], "refused": []}
        except EnqueueManyError as error:
            ids = [job.id for job in error.jobs if job is not None]
            told = {"ids": ids, "refused": [one.code for one in error.errors.values()]}
    print(json.dumps(told), flush=True)
    return 0


async def _pause(verb: str, url: str) -> None:
    async with Producer.connect(url, tenant="drill") as producer:
        pauses = Pauses(producer, who="drill")
        await (pauses.pause if verb == "pause" else pauses.resume)(["tenant:drill"])


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
