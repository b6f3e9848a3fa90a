"""Three in ten calls fail with 500, 503 or 529: all but a handful of jobs succeed, for half as many calls again."""

from collections.abc import Sequence
from contextlib import ExitStack

from tests.drills import kit
from tests.drills.verdict import Verdict

_ERRORS = ["status=500", "status=503", "status=529"]


def main(argv: Sequence[str]) -> int:
    return kit.run("random_errors", argv, errors)


def errors(verdict: Verdict, options: kit.Options) -> None:
    jobs, latency = options.pick((150, "100ms"), (2000, "uniform:500ms..1500ms"))
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency=latency)
        ids = kit.enqueue(here.server.url, 30)  # it worked before: otherwise the first errors are all there is
        kit.wait_quiet(here, 30)
        here.simulator.script([{"match": {"probability": 0.3}, "one_of": _ERRORS}])
        ids += kit.enqueue(here.server.url, jobs - len(ids), max_attempts=5)
        took_s = kit.wait_quiet(here, 300)
        here.workers.stop()
        ends = kit.states(here, ids)
        calls = sum(kit.calls_by_job(here).values())
        # 0.3 ** 5 of the jobs fail in all attempts: 2.4 in a thousand, so a small number of jobs needs more room
        verdict.at_least("of the jobs succeeded, %", round(100 * ends["succeeded"] / jobs, 2), options.pick(98, 99.5))
        verdict.exactly("the rest degraded, and says so", ends["degraded"], jobs - ends["succeeded"])
        verdict.at_most("calls per job (1.43 expected)", round((calls - 30) / (jobs - 30), 2), 1.6)
        verdict.at_most("s until all had ended", round(took_s, 1), options.pick(60, 240), speed=True)
        here.check(verdict, ids)
