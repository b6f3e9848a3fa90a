"""Workers are stopped by SIGTERM, each in turn, and some by SIGKILL while they drain: a deploy costs nothing."""

import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from tests.drills import kit
from tests.drills.leases import LeaseWatch
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict
from tests.support.wait import wait_until

_DRAIN_S, _CALM_CALLS = 30.0, 4
_LIMITS = {"whole_call_s": 25.0}


def main(argv: Sequence[str]) -> int:
    return kit.run("rolling_restart", argv, deploys)


def deploys(verdict: Verdict, options: kit.Options) -> None:
    rolling(verdict, options.pick(1, 10), options.pick(1.0, 5.0))
    killed_while_draining(verdict, options.pick(1, 10), options.lease)


def rolling(verdict: Verdict, rounds: int, call_s: float) -> None:
    """Each worker in turn ends in order and is started anew; two of three go on at full speed."""
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency=f"{call_s}s", drain_s=_DRAIN_S, limits=_LIMITS)
        with kit.fed(here, 90) as ids:
            here.simulator.until(lambda stats: stats.requests >= 60, timeout_s=60)
            calm = time.time()
            time.sleep(_CALM_CALLS * call_s)  # what the throughput is without a restart
            began = time.time()
            slowest_s = max(_replace_one(here, turn) for turn in range(3 * rounds))
            ended = time.time()
        kit.wait_quiet(here, 300)
        codes = [end.code for end in here.workers.ends]
        here.workers.stop()
        verdict.exactly("rolling: ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.exactly("rolling: exit codes", set(codes), {0})
        verdict.at_most("rolling: calls beyond one per job", kit.extra_calls(here), 0)
        verdict.at_most("rolling: attempts charged", kit.charged(here, ids), 0)
        verdict.at_most("rolling: s to drain", round(slowest_s, 2), _DRAIN_S, speed=True)
        verdict.at_most("rolling: dip of the throughput", round(_dip(here, calm, began, ended), 2), 0.4, speed=True)
        here.check(verdict, ids)


def _replace_one(here: Stage, turn: int) -> float:
    """Stop the oldest worker, and wait until another has started in its place; how long it drained, in s."""
    here.simulator.until(lambda stats: stats.in_flight >= 15, timeout_s=60)
    asked_at, child = time.monotonic(), here.workers.alive[0]
    child.terminate()
    child.wait(60)
    drained_s = time.monotonic() - asked_at
    here.workers.wait_started(4 + turn, 60)
    wait_until(lambda: len(here.workers.alive) == 3, 60)
    here.workers.started[-1].wait_event("worker_started", 60)
    return drained_s


def _dip(here: Stage, calm: float, began: float, ended: float) -> float:
    """By how much of what they were from *calm* to *began* calls a second were fewer from then to *ended*.

    The moments are s since the epoch.
    """
    ends = [(call.ended_at_ms or 0) / 1000 for call in here.simulator.calls()]
    before, since = (sum(a <= end < b for end in ends) / (b - a) for a, b in ((calm, began), (began, ended)))
    return 1 - since / before


def killed_while_draining(verdict: Verdict, times: int, lease: dict[str, Any]) -> None:
    """SIGTERM, and SIGKILL before the drain is over: as a SIGKILL."""
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="2s", drain_s=_DRAIN_S, limits=_LIMITS, **lease)
        watch = stack.enter_context(LeaseWatch(here.server.url, lease["lease_s"]))
        ids = kit.enqueue(here.server.url, 30 + times * 30)
        for _ in range(times):
            here.simulator.until(lambda stats: stats.in_flight >= 25, timeout_s=60)
            child = here.workers.alive[0]
            child.terminate()
            time.sleep(1.0)  # it drains
            child.kill()
            watch.note_kill()
        kit.wait_quiet(here, 120)
        codes = {end.code for end in here.workers.ends}
        here.workers.stop()
        verdict.exactly("draining: ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.exactly("draining: exit codes", codes, {-signal.SIGKILL})
        verdict.at_most("draining: calls beyond one per job, of those open", kit.extra_calls(here), kit.lost_ends(here))
        verdict.at_most("draining: attempts charged", kit.charged(here, ids), 0)
        restart_s = round(watch.latest_restarts_s(ids)[0], 2)
        most_s = lease["lease_s"] + kit.SLACK_S
        verdict.at_most("draining: s from a kill to the restart of its jobs", restart_s, most_s, speed=True)
        here.check(verdict, ids)
