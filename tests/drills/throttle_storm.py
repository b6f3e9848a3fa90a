"""The provider throttles everybody, then is down: waiting costs nothing, and its return is met a few at a time."""

import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack

from penstock_simulator.bill import BilledCall
from tests.drills import kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict

_SLOTS = 30
_GRACE_MS = 50
"""How far the worker's idea of Redis' time may be off."""


def main(argv: Sequence[str]) -> int:
    return kit.run("throttle_storm", argv, storm)


def storm(verdict: Verdict, options: kit.Options) -> None:
    jobs, latency_s, storm_s, wait_s, down_s = options.pick((150, 0.2, 3.0, 1, 3.0), (1000, 0.5, 60.0, 5, 300.0))
    waiting = options.pick(150, 5000)
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency=f"{latency_s}s")
        usual_per_s = _SLOTS / latency_s
        here.simulator.script([f"429 retry-after={wait_s}"])
        ids = kit.enqueue(here.server.url, jobs)
        time.sleep(storm_s)  # how long the storm lasts is the drill's own choice
        throttled = _calls(here)
        here.simulator.script(["status=503"])
        ids += kit.enqueue(here.server.url, waiting - jobs if options.short else waiting)
        time.sleep(down_s)  # and so is the outage
        refused = _calls(here)[len(throttled) :]
        here.simulator.script([])
        back_at_ms = time.time() * 1000
        kit.wait_quiet(here, 300)
        here.workers.stop()
        after = [call.started_at_ms - back_at_ms for call in _calls(here) if call.started_at_ms >= back_at_ms]
        scale = f"storm {storm_s:g} s of 60, outage {down_s:g} s of 300"
        verdict.exactly(f"ended as succeeded ({scale})", kit.states(here, ids)["succeeded"], len(ids))
        verdict.exactly("calls before the stated time", _too_early(here, wait_s), 0)
        most = _SLOTS + 0.1 * usual_per_s * storm_s
        verdict.at_most("calls in the storm: its first wave, and a tenth of the usual", len(throttled), most)
        most = _SLOTS + 0.1 * usual_per_s * down_s
        verdict.at_most("calls in the outage: the same", len(refused), most)
        verdict.at_most("s until the first call after it", round(after[0] / 1000, 1), options.pick(12, 61), speed=True)
        peak = _peak(after) / usual_per_s
        verdict.at_most("calls a second at most in the 10 s from there, of the usual", round(peak, 2), 1.1)
        if not options.short:  # else all is done before
            verdict.at_most(
                "s from there to four fifths of the usual", _full_speed_s(after, 0.8 * usual_per_s), 10, speed=True
            )
        here.check(verdict, ids)


def _calls(here: Stage) -> list[BilledCall]:
    return sorted(here.simulator.calls(), key=lambda call: call.started_at_ms)


def _too_early(here: Stage, wait_s: float) -> int:
    """Calls intended although a throttle, known to all since its end was written down, said until when none may be.

    Both by the ledger: a call's intent, and the moment of the throttle's entry.
    """
    with here.redis() as client:
        rows = [(int(entry.split("-")[0]), row) for entry, row in client.xrange("penstock:ledger")]  # type: ignore[union-attr]
    known_ms = [at for at, row in rows if row.get("error") == "throttled"]
    count = 0
    for _, row in rows:
        sent_ms = int(row["sent_at_ms"])
        before = bisect_left(known_ms, sent_ms - _GRACE_MS)
        count += bool(before) and sent_ms < known_ms[before - 1] + 1000 * wait_s - _GRACE_MS
    return count


def _peak(after_ms: list[float]) -> float:
    """The most calls in a second, of the ten that begin with the first call."""
    early = [at for at in after_ms if at < after_ms[0] + 10_000]
    return max(sum(at <= other < at + 1000 for other in early) for at in early)


def _full_speed_s(after_ms: list[float], per_s: float) -> float:
    """From the first call until so many begin in one second."""
    fast = (at for at in after_ms if sum(at <= other < at + 1000 for other in after_ms) >= per_s)
    return (next(fast, float("inf")) - after_ms[0]) / 1000
