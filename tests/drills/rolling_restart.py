"""Workers are stopped by SIGTERM, each in turn, and some by SIGKILL while they drain: a deploy costs nothing."""

import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack

from tests.drills import kit
from tests.drills.verdict import Verdict
from tests.support.wait import wait_until


def main(argv: Sequence[str]) -> int:
    return kit.run("rolling_restart", argv, deploys)


def deploys(verdict: Verdict, options: kit.Options) -> None:
    rolling(verdict, options.pick(1, 10), options.pick("1s", "5s"))
    killed_while_draining(verdict, options.pick(1, 10))


def rolling(verdict: Verdict, rounds: int, call: str) -> None:
    """Each worker in turn ends in order and is started anew."""
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency=call, drain_s=150.0)
        ids = kit.enqueue(here.server.url, rounds * 120)
        slowest_s = 0.0
        for turn in range(3 * rounds):
            here.simulator.until(lambda stats: stats.in_flight >= 15, timeout_s=60)
            began, child = time.monotonic(), here.workers.alive[0]
            child.terminate()
            child.wait(60)
            slowest_s = max(slowest_s, time.monotonic() - began)
            here.workers.wait_started(4 + turn)
            wait_until(lambda: len(here.workers.alive) == 3)
            here.workers.started[-1].wait_event("worker_started", 30)
        kit.wait_quiet(here, 300)
        codes = [end.code for end in here.workers.ends]
        here.workers.stop()
        verdict.exactly("rolling: ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.exactly("rolling: exit codes", set(codes), {0})
        verdict.at_most("rolling: calls beyond one per job", kit.extra_calls(here), 0)
        verdict.at_most("rolling: attempts charged", kit.charged(here, ids), 0)
        verdict.at_most("rolling: s to drain", round(slowest_s, 2), 30.0)
        here.check(verdict, ids)


def killed_while_draining(verdict: Verdict, times: int) -> None:
    """SIGTERM, and SIGKILL before the drain is over: as a SIGKILL."""
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="2s", drain_s=150.0)
        ids = kit.enqueue(here.server.url, 30 + times * 30)
        for _ in range(times):
            here.simulator.until(lambda stats: stats.in_flight >= 25, timeout_s=60)
            child = here.workers.alive[0]
            child.terminate()
            time.sleep(0.5)  # it drains
            child.kill()
        kit.wait_quiet(here, 120)
        codes = {end.code for end in here.workers.ends}
        here.workers.stop()
        verdict.exactly("draining: ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.exactly("draining: exit codes", codes, {-signal.SIGKILL})
        verdict.at_most("draining: calls beyond one per job, of those open", kit.extra_calls(here), kit.lost_ends(here))
        verdict.at_most("draining: attempts charged", kit.charged(here, ids), 0)
        here.check(verdict, ids)
