"""Kills, cut streams, absurd usage: the books are the bill but for what is in doubt, and the bill settles that."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, cast

from tests.drills import checker, kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict

_FAULTS = [
    *("cut-last", "cut-lost", "cut-middle", "cut-headers", "hang-middle", "error-in-stream", "no-finish"),
    *("usage-missing", "usage-null", "usage-huge", "usage-over", "usage-negative", "usage-string"),
    *("status", "overloaded", "length", "empty", "cut-body", "refusal", "usage-unequal"),
]
_LIED = "usage-unequal"
"""Figures that are possible and false: only a bill can tell."""
_LIMITS = {"connect_s": 2.0, "first_content_s": 1.5, "content_idle_s": 1.0, "whole_call_s": 3.0}
_JOBS = 1000


def main(argv: Sequence[str]) -> int:
    return kit.run("money", argv, add_up)


def add_up(verdict: Verdict, options: kit.Options) -> None:
    short, whole = ("uniform:20ms..80ms", 0.5, 4, 2), ("uniform:500ms..1500ms", 2.0, 20, 4)
    latency, every_s, kills, attempts = options.pick(short, whole)
    rng = random.Random(4)
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency=latency, limits=_LIMITS, breaker=False, **options.lease)
        here.simulator.script([{"match": {"probability": 0.25}, "one_of": _FAULTS}])
        ids = kit.enqueue(here.server.url, _JOBS // 2, max_attempts=attempts)
        ids += kit.enqueue(here.server.url, _JOBS // 2, max_attempts=attempts, stream=True)
        here.simulator.until(lambda stats: stats.in_flight > 10)
        for _ in range(kills):
            here.workers.kill_random(rng)
            time.sleep(every_s)  # the storm's own pace, not a wait for something
        kit.wait_quiet(here, 300)
        here.workers.stop()
        ends = kit.states(here, ids)
        verdict.exactly("ended as succeeded or degraded", ends["succeeded"] + ends["degraded"], _JOBS)
        before = _sums(here)
        verdict.at_least("calls of unknown outcome", before["unknown_calls"], 3)
        verdict.at_least("calls whose usage was absurd", before["estimated_calls"], 10)
        _compare(verdict, before, "after the storm")
        low, high = before["ledger"] - before["estimated"], before["ledger"] + before["ledger_uncertain"]
        verdict.at_least("bill, nano-USD, beyond what is certain", before["bill"] - low, 0)
        verdict.at_most("bill, nano-USD, beyond what is certain or uncertain", before["bill"] - high, 0)
        verdict.exactly("exit code of penstock doctor", _penstock(here, "doctor")[0], 0)

        lied = sum(call.billed and _LIED in (call.fault or "") for call in here.simulator.calls())
        told = _reconcile(here)[1]
        verdict.at_least("calls settled by the bill", told["settled"], before["unknown_calls"])
        code, told = _reconcile(here, "--correct")
        verdict.exactly("calls corrected, whose usage was possible and false", told["settled"], lied)
        verdict.exactly("difference from the bill, USD, and exit code", (told["difference_usd"], code), ("0", 0))
        after = _sums(here)
        _compare(verdict, after, "after the bill")
        verdict.exactly("uncertain, nano-USD, after the bill", after["ledger_uncertain"], 0)
        verdict.exactly("bill - ledger, nano-USD, after the bill", after["bill"] - after["ledger"], 0)
        verdict.exactly("calls settled by the same bill again", _reconcile(here, "--correct")[1]["settled"], 0)
        verdict.exactly("exit code of penstock doctor after the bill", _penstock(here, "doctor")[0], 0)
        here.check(verdict, ids)


def _compare(verdict: Verdict, sums: dict[str, int], when: str) -> None:
    for other in ("budgets", "jobs"):
        for what in ("", "_uncertain"):
            difference = sums[f"{other}{what}"] - sums[f"ledger{what}"]
            verdict.exactly(f"{other}{what} - ledger{what}, nano-USD, {when}", difference, 0)


def _sums(here: Stage) -> dict[str, int]:
    """What ledger, budgets, jobs and the provider's own bill come to, by the checker's own reading."""
    with here.redis() as client:
        at = checker.read(client, [], here.bill)
    last = [entries[-1] for entries in checker.ledger_calls(at).values()]
    budgets = [row for name, row in at.named("penstock:budget:global:day:")]
    records = [row for _, row in at.named("penstock:job:")]
    estimated = [row for row in last if row.get("estimated") == "1"]
    return {
        "ledger": _sum(last, "cost_nanousd"),
        "ledger_uncertain": _sum(last, "uncertain_nanousd"),
        "budgets": _sum(budgets, "spent"),
        "budgets_uncertain": _sum(budgets, "uncertain"),
        "jobs": _sum(records, "cost_nanousd"),
        "jobs_uncertain": _sum(records, "uncertain_nanousd"),
        "estimated": _sum(estimated, "cost_nanousd"),
        "estimated_calls": len(estimated),
        "unknown_calls": sum(row["kind"] == "unknown" for row in last),
        "bill": sum(checker.charged_nanousd(call) for call in at.bill),
    }


def _sum(rows: Sequence[dict[str, str]], name: str) -> int:
    return sum(int(row.get(name) or 0) for row in rows)


def _reconcile(here: Stage, *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and what the command says in the end."""
    options = ["--resolve", "--since", "1h", "--until", "0s", *more]
    code, told = _penstock(here, "costs", "reconcile", str(here.bill), *options)
    return code, cast("dict[str, Any]", json.loads(told.splitlines()[-1]))


def _penstock(here: Stage, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "penstock", "--redis", here.server.url, "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=here.folder)
    return done.returncode, done.stdout
