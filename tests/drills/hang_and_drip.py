"""Providers that accept and stay silent, drip, or send signs of life for ever: each call ends at its limit."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

from tests.drills import kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict

_WHOLE = ("hang", "hang-headers", "drip bytes_per_s=1", "comments-only every=300ms")
_STREAMED = (
    "hang",
    "hang-headers",
    "drip bytes_per_s=1",
    "comments-only every=300ms",
    "endless-events every={every}ms",
)
_EACH = 10


def main(argv: Sequence[str]) -> int:
    return kit.run("hang_and_drip", argv, hang)


def hang(verdict: Verdict, options: kit.Options) -> None:
    limit_s = options.pick(3.0, 20.0)
    limits = {"connect_s": limit_s, "first_content_s": limit_s, "content_idle_s": limit_s, "whole_call_s": limit_s}
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="50ms", limits=limits, breaker=False)
        slow = []
        for stream, faults in ((False, _WHOLE), (True, _STREAMED)):
            for fault in faults:
                here.simulator.script([fault.format(every=int(limit_s * 250))])
                ids = kit.enqueue(here.server.url, _EACH, max_attempts=1, on_failure="dead_letter", stream=stream)
                slow += ids
                _wait_begun(here, len(slow))
                if len(slow) % 30 == 0:
                    kit.wait_quiet(here, 60)
        kit.wait_quiet(here, 60)
        ends_s = _lengths_s(here)
        leaked = here.simulator.until(lambda stats: stats.in_flight == 0).open_connections - 1  # the one that asks
        here.simulator.script([])
        began = time.monotonic()
        good = kit.enqueue(here.server.url, 60)
        kit.wait_quiet(here, 60)
        after_s = time.monotonic() - began
        here.workers.stop()
        verdict.exactly("jobs that ended dead", kit.states(here, slow)["dead"], len(slow))
        verdict.at_least(
            f"s of the shortest call, with a limit of {limit_s:g} s (whole: 20 s)", min(ends_s), limit_s - 0.5
        )
        verdict.at_most("s of the longest", max(ends_s), limit_s + 0.5, speed=True)
        verdict.exactly("ended as succeeded in the slots that were held", kit.states(here, good)["succeeded"], 60)
        verdict.at_most("s that these took", round(after_s, 1), 5.0, speed=True)
        verdict.exactly("connections left open", leaked, 0)
        here.check(verdict, [*slow, *good])


def _wait_begun(here: Stage, jobs: int) -> None:
    """Wait until the jobs' calls have begun, so that the next fault is not theirs."""
    here.simulator.until(lambda stats: stats.requests >= jobs, timeout_s=60)


def _lengths_s(here: Stage) -> list[float]:
    """How long each call was open, by the provider's clock."""
    calls = here.simulator.calls()
    return [(call.ended_at_ms - call.started_at_ms) / 1000 for call in calls if call.ended_at_ms is not None]
