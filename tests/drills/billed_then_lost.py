"""Every third answer is made, charged, and lost one byte before its end: no such call is for free in the books."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import cast

from tests.drills import kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict

_ATTEMPTS = 5


def main(argv: Sequence[str]) -> int:
    return kit.run("billed_then_lost", argv, lost)


def lost(verdict: Verdict, options: kit.Options) -> None:
    jobs, latency = options.pick((150, "100ms"), (900, "uniform:500ms..1500ms"))
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency=latency)
        here.simulator.script([{"match": {"every": 3}, "one_of": ["cut-last", "cut-lost", "cut-middle"]}])
        ids = kit.enqueue(here.server.url, jobs, max_attempts=_ATTEMPTS)
        kit.wait_quiet(here, 300)
        here.workers.stop()
        ends = kit.states(here, ids)
        broken, free = _lost_calls(here)
        verdict.at_least("calls lost after they were charged", broken, jobs // 4)
        verdict.exactly("of them for free in the ledger", free, 0)
        verdict.at_most("calls of one job at most", max(kit.calls_by_job(here).values()), _ATTEMPTS)
        verdict.exactly("ended as succeeded or degraded", ends["succeeded"] + ends["degraded"], jobs)
        verdict.at_least("ended as succeeded, %", round(100 * ends["succeeded"] / jobs, 1), 96)
        here.check(verdict, ids)


def _lost_calls(here: Stage) -> tuple[int, int]:
    """Calls that the provider charged and whose answer did not come, and how many of them cost nothing."""
    charged = {call.caller_id for call in here.simulator.calls() if call.billed}
    with here.redis() as client:
        rows = [row for _, row in cast("list[tuple[str, dict[str, str]]]", client.xrange("penstock:ledger"))]
    failed = [row for row in rows if row["kind"] != "answered" and f"{row['job']}:{row['call']}" in charged]
    free = [row for row in failed if not int(row["cost_nanousd"] or 0) and not int(row["uncertain_nanousd"])]
    return len(failed), len(free)
