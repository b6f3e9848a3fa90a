"""Every broken body, header and usage that the provider can send, for each task: the exact end, and no crash."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, cast

from penstock import JobHandle, Producer
from tests.drills import checker, kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict
from tests.integration.attempt.test_corpus import ROWS, asked, bill_by_job, what_is_wrong

_TASKS = ("summarize", "classify", "extract")
_SLOW = ("timeout_call", "timeout_idle")
_TOO_LARGE = ("gzip-bomb", "huge-body", "endless-headers", "long-header", "big-string")
"""Their drill is another one."""


def main(argv: Sequence[str]) -> int:
    return kit.run("bad_bodies", argv, bodies)


def bodies(verdict: Verdict, options: kit.Options) -> None:
    times = options.pick(1, 5)
    rows = {name: row for name, row in ROWS.items() if row.error not in _SLOW and name not in _TOO_LARGE}
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="5ms", breaker=False, concurrency=30, route={"max_output_tokens": 300})
        jobs = asyncio.run(_enqueue(here.server.url, rows, times))
        kit.wait_quiet(here, 300)
        wrong = asyncio.run(_wrong(here, jobs))
        here.workers.stop()
        crashes = [event for child in here.workers.started for event in child.events("attempt_crashed")]
        verdict.at_least("kinds of fault, for three tasks", len(rows), 60)
        verdict.none_of("jobs that ended otherwise than the table says", wrong)
        verdict.exactly("attempts that crashed", len(crashes), 0)
        verdict.none_of("amounts in the ledger that are none", _not_amounts(here))
        # Where the usage is false the cost is an estimate; the table says of each row what it has to be.
        here.check(verdict, [job.id for _, job in jobs], but=[checker.the_ledger_is_the_bill])


async def _enqueue(url: str, rows: dict[str, Any], times: int) -> list[tuple[str, JobHandle[Any]]]:
    jobs = []
    async with Producer.connect(url, tenant="drill") as producer:
        for task in _TASKS:
            faults = [name for name, row in rows.items() if task in row.only] * times
            handles = await producer.enqueue_many(
                [asked(task, name, rows[name]) for name in faults], max_attempts=1, on_failure="dead_letter"
            )
            jobs += list(zip(faults, handles, strict=True))
    return jobs


async def _wrong(here: Stage, jobs: list[tuple[str, JobHandle[Any]]]) -> list[str]:
    bill, ledger = bill_by_job(here.simulator.calls()), _ledger(here)
    wrong = []
    async with Producer.connect(here.server.url, tenant="drill") as producer:
        for name, job in jobs:
            status = await producer.job(job.id).status()
            told = what_is_wrong(ROWS[name], status, ledger.get(job.id, []), bill.get(job.id, []))
            wrong += [f"{name}: {fault}" for fault in told]
    return wrong


def _ledger(here: Stage) -> dict[str, list[dict[str, str]]]:
    entries: dict[str, list[dict[str, str]]] = {}
    with here.redis() as client:
        for _, row in cast("list[tuple[str, dict[str, str]]]", client.xrange("penstock:ledger")):
            entries.setdefault(row["job"], []).append(row)
    return entries


def _not_amounts(here: Stage) -> list[str]:
    """Fields of the ledger that must be whole numbers from 0 on, and are not."""
    names = ("cost_nanousd", "uncertain_nanousd", "held_nanousd", "input_tokens", "output_tokens")
    rows = [row for entries in _ledger(here).values() for row in entries]
    return [f"{name}={row[name]}" for row in rows for name in names if name in row and not row[name].isdigit()]
