"""SIGKILL a random worker every two seconds, sixty seconds long: nothing lost, nothing doubled, nobody charged."""

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack

from tests.drills import kit
from tests.drills.leases import LeaseWatch
from tests.drills.verdict import Verdict


def main(argv: Sequence[str]) -> int:
    return kit.run("kill_storm", argv, storm)


def storm(verdict: Verdict, options: kit.Options) -> None:
    jobs, last_s, every_s = options.pick((120, 6.0, 2.0), (1000, 60.0, 2.0))
    rng = random.Random(1)
    with ExitStack() as stack:
        here = kit.worker_stage(stack, **options.lease)
        watch = stack.enter_context(LeaseWatch(here.server.url, options.lease["lease_s"]))
        ids = kit.enqueue(here.server.url, jobs)
        here.simulator.until(lambda stats: stats.in_flight > 10, timeout_s=60)
        kills = round(last_s / every_s)
        for _ in range(kills):
            here.workers.kill_random(rng)
            watch.note_kill()
            time.sleep(every_s)  # the storm's own pace, not a wait for something
        took_s = kit.wait_quiet(here, 120)
        here.workers.stop()
        verdict.exactly("ended as succeeded", kit.states(here, ids)["succeeded"], jobs)
        verdict.at_least("kills", kills, 3)
        verdict.at_most("calls beyond one per job, of those open at a kill", kit.extra_calls(here), kit.lost_ends(here))
        verdict.at_most("attempts charged for deaths", kit.charged(here, ids), 0)
        lease_s = options.lease["lease_s"]
        once, again = watch.latest_restarts_s(ids)
        verdict.at_most("s from a kill to the restart of its jobs", round(once, 2), lease_s + kit.SLACK_S, speed=True)
        verdict.at_most("s to that of jobs that died twice in a row, which run alone", round(again, 2), 60, speed=True)
        verdict.at_most("s from the last kill to the last end", round(took_s, 1), 120, speed=True)
        here.check(verdict, ids)
