"""Redis is killed in the middle of the work and comes back: no worker ends, nothing is lost, no call is made twice."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from penstock import EnqueueManyError
from penstock_schemas.errors import UnavailableError
from tests.drills import kit
from tests.drills.verdict import Verdict


def main(argv: Sequence[str]) -> int:
    return kit.run("redis_restart", argv, restart)


def restart(verdict: Verdict, options: kit.Options) -> None:
    jobs, away_s = options.pick((100, 3.0), (500, 5.0))
    with ExitStack() as stack:
        here = kit.worker_stage(stack)
        ids = kit.enqueue(here.server.url, jobs)
        here.simulator.until(lambda stats: stats.in_flight >= 25)
        here.server.kill()
        refused_s = _refused_after_s(here.server.url)
        time.sleep(max(0.0, away_s - refused_s))  # how long Redis is away is the drill's own choice
        here.server.start()
        back_at = time.monotonic()
        here.simulator.until(lambda stats: stats.in_flight >= 25, timeout_s=30)
        full_s = time.monotonic() - back_at
        kit.wait_quiet(here, 120)
        here.workers.stop()
        verdict.exactly("ended as succeeded", kit.states(here, ids)["succeeded"], jobs)
        verdict.exactly("workers that ended", len(here.workers.ends), 0)
        verdict.at_most("calls beyond one per job", kit.extra_calls(here), 0)
        verdict.at_most("attempts charged", kit.charged(here, ids), 0)
        verdict.at_most("s until full speed", round(full_s, 2), 5.0)
        verdict.at_most("s until an enqueue was refused", round(refused_s, 2), 2.5)
        here.check(verdict, ids)


def _refused_after_s(url: str) -> float:
    began = time.monotonic()
    with pytest.raises(EnqueueManyError) as refused:
        kit.enqueue(url, 1)
    assert all(isinstance(error, UnavailableError) for error in refused.value.errors.values())
    return time.monotonic() - began
