"""Redis is killed in the midst of work and comes back, soon or late: no worker ends, nothing is lost or doubled."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from penstock import EnqueueManyError
from penstock_schemas.errors import UnavailableError
from tests.drills import kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict


def main(argv: Sequence[str]) -> int:
    return kit.run("redis_restart", argv, restarts)


def restarts(verdict: Verdict, options: kit.Options) -> None:
    soon(verdict, *options.pick((90, 2.5), (500, 5.0)))
    jobs, away_s = options.pick((60, 6.0), (500, 60.0))
    late(verdict, jobs, away_s, options.lease)


def soon(verdict: Verdict, jobs: int, away_s: float) -> None:
    """It is back before a lease ends: not one call more than there are jobs."""
    with ExitStack() as stack:
        here = kit.worker_stage(stack)
        ids = kit.enqueue(here.server.url, jobs)
        here.simulator.until(lambda stats: stats.in_flight >= 25, timeout_s=60)
        here.server.kill()
        refused_s = _refused_after_s(here.server.url)
        time.sleep(max(0.0, away_s - refused_s))  # how long Redis is away is the drill's own choice
        here.server.start()
        back_at = time.monotonic()
        here.simulator.until(lambda stats: stats.in_flight >= 25, timeout_s=60)
        full_s = time.monotonic() - back_at
        kit.wait_quiet(here, 120)
        here.workers.stop()
        verdict.exactly("soon: ended as succeeded", kit.states(here, ids)["succeeded"], jobs)
        verdict.exactly("soon: workers that ended", len(here.workers.ends), 0)
        verdict.at_most("soon: calls beyond one per job", kit.extra_calls(here), 0)
        verdict.at_most("soon: attempts charged", kit.charged(here, ids), 0)
        verdict.at_most("soon: s until full speed", round(full_s, 2), 5.0, speed=True)
        verdict.at_most("soon: s until an enqueue was refused", round(refused_s, 2), 2.0, speed=True)
        here.check(verdict, ids)


def late(verdict: Verdict, jobs: int, away_s: float, lease: dict[str, Any]) -> None:
    """It is away for longer than a lease: nothing is begun, and what was open is all that may be called again."""
    with ExitStack() as stack:
        here = kit.worker_stage(stack, **lease)
        ids = kit.enqueue(here.server.url, jobs)
        here.simulator.until(lambda stats: stats.in_flight >= 25, timeout_s=60)
        cut_at = time.time()
        here.server.kill()
        time.sleep(away_s)  # as long as it is away
        open_then = _open_at(here, cut_at)
        begun_s = max(call.started_at_ms / 1000 - cut_at for call in here.simulator.calls())
        here.server.start()
        kit.wait_quiet(here, 120)
        here.workers.stop()
        verdict.exactly("late: ended as succeeded", kit.states(here, ids)["succeeded"], jobs)
        verdict.at_most("late: s from the cut to the last call begun", round(max(0.0, begun_s), 2), lease["lease_s"])
        verdict.at_most("late: calls beyond one per job, of those open at the cut", kit.extra_calls(here), open_then)
        verdict.at_most("late: attempts charged", kit.charged(here, ids), 0)
        verdict.exactly("late: workers that ended", len(here.workers.ends), 0)
        here.check(verdict, ids)


def _open_at(here: Stage, at: float) -> int:
    """Calls that were under way then, by the provider's account; s since the epoch."""
    spans = [(call.started_at_ms / 1000, (call.ended_at_ms or 2**50) / 1000) for call in here.simulator.calls()]
    return sum(began <= at <= ended for began, ended in spans)


def _refused_after_s(url: str) -> float:
    began = time.monotonic()
    with pytest.raises(EnqueueManyError) as refused:
        kit.enqueue(url, 1)
    assert all(isinstance(error, UnavailableError) for error in refused.value.errors.values())
    return time.monotonic() - began
