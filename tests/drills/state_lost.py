"""Redis comes back empty: it is noticed and said, nobody is told of a success, costs are kept, work is sent again."""

import asyncio
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack

from penstock import JobNotFoundError, Producer, Summarize
from tests.drills import checker, kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict


def main(argv: Sequence[str]) -> int:
    return kit.run("state_lost", argv, empty)


def empty(verdict: Verdict, options: kit.Options) -> None:
    jobs = options.pick(90, 500)
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="uniform:500ms..2500ms", health_port=0)
        ports = [child.wait_event("health_served", 30)["port"] for child in here.workers.started]
        first, waited = asyncio.run(_lose(here, jobs))
        back_at = time.monotonic()
        for child in here.workers.started:
            child.wait_event("state_lost", 30)
        noticed_s = time.monotonic() - back_at
        begun = here.simulator.stats().requests
        again = kit.enqueue(here.server.url, jobs, keyed=True)
        kit.wait_quiet(here, 120)
        ended = [error for error in waited if isinstance(error, JobNotFoundError)]
        told = [result for result in waited if not isinstance(result, Exception)]
        verdict.at_most("s until every worker said state_lost", round(noticed_s, 2), 5.0, speed=True)
        verdict.exactly("workers whose health tells it", sum(_states_lost(port) > 0 for port in ports), 3)
        verdict.exactly("waiters told a result or that the job is gone", len(ended) + len(told), jobs)
        verdict.at_most("results told after the loss", len(told) - first, 0)
        verdict.none_of("late calls without a cost in the new ledger", _unpaid(here))
        verdict.exactly("sent again by key and ended as succeeded", kit.states(here, again)["succeeded"], jobs)
        calls = here.simulator.stats().requests - begun
        verdict.at_most("calls for what was sent again, of one each", calls - jobs, 0)
        here.workers.stop()
        verdict.exactly("workers that ended", len(here.workers.ends), 0)
        gone = (checker.every_billed_call_is_in_the_ledger, checker.budgets_are_the_sum_of_the_ledger)
        here.check(verdict, again, but=gone)


async def _lose(here: Stage, jobs: int) -> tuple[int, list[object]]:
    """Enqueue, wait for all, and take Redis' data away meanwhile.

    How many results were there before, and what each waiter was told in the end.
    """
    async with Producer.connect(here.server.url, tenant="drill") as producer:
        asked = [Summarize(text=kit.TEXT.format(n)) for n in range(jobs)]
        handles = await producer.enqueue_many(asked, idempotency_keys=[f"key-{n}" for n in range(jobs)])
        waiting = [asyncio.ensure_future(handle.result()) for handle in handles]
        await asyncio.to_thread(here.simulator.until, lambda stats: stats.requests > 40 and stats.in_flight > 20)
        await asyncio.to_thread(_empty, here)
        first = sum(one.done() for one in waiting)
        return first, list(await asyncio.gather(*waiting, return_exceptions=True))


def _empty(here: Stage) -> None:
    here.server.kill()
    for path in (here.folder / "redis").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    here.server.start()


def _unpaid(here: Stage) -> list[str]:
    """Calls that ended after Redis had come back, and of which its ledger knows nothing, or nothing that they cost."""
    with here.redis() as client:
        began_ms = 1000 * (int(client.time()[0]) - int(client.info("server")["uptime_in_seconds"]))  # type: ignore[index]
        snapshot = checker.read(client, [], here.bill)
    snapshot.bill = [call for call in snapshot.bill if (call.get("ended_at_ms") or 0) > began_ms + 1000]
    return list(checker.every_billed_call_is_in_the_ledger(snapshot))


def _states_lost(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return int(json.load(answer)["states_lost"])
    except urllib.error.HTTPError as error:
        with error:
            return int(json.load(error)["states_lost"])
