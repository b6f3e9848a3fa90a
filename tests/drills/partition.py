"""The network between the workers and Redis goes silent, for less than a lease and for longer."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from penstock_simulator.process import SimulatorProcess
from tests.drills import kit
from tests.drills.leases import LeaseWatch
from tests.drills.verdict import Verdict
from tests.support.processes import ChildProcess
from tests.support.proxy import TcpProxy
from tests.support.worker_processes import worker_argv, write_config


def main(argv: Sequence[str]) -> int:
    return kit.run("partition", argv, partitions)


def partitions(verdict: Verdict, options: kit.Options) -> None:
    short_silence(verdict, options.pick(1, 20))
    long_silence(verdict, options.pick(6.0, 30.0), options.lease)
    times, silent_s = options.pick((1, 6.0), (10, 30.0))
    isolated(verdict, times, silent_s, options.lease)


def short_silence(verdict: Verdict, times: int) -> None:
    """Three seconds each, and as long a pause of a worker: nobody is taken for dead."""
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="uniform:500ms..2500ms")
        ids = kit.enqueue(here.server.url, 60 * times)
        for turn in range(times):
            here.simulator.until(lambda stats: stats.in_flight >= 15, timeout_s=60)
            here.proxy.freeze()
            time.sleep(3.0)  # the length of the silence
            here.proxy.pass_through()
            time.sleep(kit.HEARTBEAT_S)  # two faults, not one of twice the length
            victim = here.workers.alive[turn % 3]
            victim.pause()
            time.sleep(3.0)
            victim.resume()
            if turn + 1 < times:
                time.sleep(kit.HEARTBEAT_S)
        kit.wait_quiet(here, 120)
        here.workers.stop()
        verdict.exactly("short: ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.at_most("short: takeovers", kit.takeovers(here, ids), 0)
        verdict.at_most("short: calls beyond one per job", kit.extra_calls(here), 0)
        verdict.at_most("short: attempts charged", kit.charged(here, ids), 0)
        verdict.exactly("short: workers that ended", len(here.workers.ends), 0)
        here.check(verdict, ids)


def long_silence(verdict: Verdict, silent_s: float, lease: dict[str, Any]) -> None:
    """All workers are cut off; their jobs are lost to them, no call is begun, and all goes on when it is over."""
    with ExitStack() as stack:
        here = kit.worker_stage(stack, **lease)
        ids = kit.enqueue(here.server.url, 90)
        here.simulator.until(lambda stats: stats.in_flight >= 25, timeout_s=60)
        here.proxy.freeze()
        frozen_at_ms = time.time() * 1000
        time.sleep(silent_s)
        begun = [call.started_at_ms - frozen_at_ms for call in here.simulator.calls()]
        here.proxy.pass_through()
        kit.wait_quiet(here, 120)
        here.workers.stop()
        verdict.exactly("long: ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        bound_s = lease["lease_s"]
        verdict.at_most("long: s from the cut to the last call begun in it", round(max(0.0, *begun) / 1000, 2), bound_s)
        verdict.at_most(
            "long: calls beyond one per job, of those open at the cut", kit.extra_calls(here), kit.lost_ends(here)
        )
        verdict.at_most("long: attempts charged", kit.charged(here, ids), 0)
        verdict.exactly("long: workers that ended", len(here.workers.ends), 0)
        here.check(verdict, ids)


def isolated(verdict: Verdict, times: int, silent_s: float, lease: dict[str, Any]) -> None:
    """One of three workers is cut off from Redis: the others take over, and it begins nothing and ends nothing.

    It calls a provider of its own, whose account so tells what it did.
    """
    with ExitStack() as stack:
        here = kit.worker_stage(stack, count=2, **lease)
        proxy = stack.enter_context(TcpProxy.to(here.server.url))
        folder = here.folder / "isolated"
        folder.mkdir()
        bill = folder / "bill.jsonl"
        own = stack.enter_context(SimulatorProcess(latency="uniform:500ms..1500ms", bill=bill))
        argv = worker_argv(write_config(folder, proxy.url, own.base_url, budgets=kit.BUDGETS, **lease))
        third = stack.enter_context(ChildProcess(argv))
        third.wait_event("worker_started", 30)
        watch = stack.enter_context(LeaseWatch(here.server.url, lease["lease_s"]))
        ids: list[str] = []
        begun_s: list[float] = []
        for _ in range(times):
            ids += kit.enqueue(here.server.url, 60)
            own.until(lambda stats: stats.in_flight >= 9, timeout_s=30)
            proxy.freeze()
            watch.note_kill()
            frozen_at = time.time()
            time.sleep(silent_s)  # the length of the silence
            begun_s += [call.started_at_ms / 1000 - frozen_at for call in own.calls()]
            proxy.pass_through()
            kit.wait_quiet(here, 60)
        third.terminate()
        code = third.wait(30)
        here.workers.stop()
        lease_s = lease["lease_s"]
        extra = kit.extra_calls(here, own)
        verdict.exactly("isolated: ended as succeeded", kit.states(here, ids)["succeeded"], len(ids))
        verdict.at_least("isolated: jobs taken over", kit.takeovers(here, ids), 1)
        took_s = round(watch.latest_restarts_s(ids)[0], 2)
        verdict.at_most("isolated: s from the cut to the last takeover", took_s, lease_s + kit.SLACK_S, speed=True)
        verdict.at_most("isolated: s from the cut to the last call it began", round(max(0.0, *begun_s), 2), lease_s)
        verdict.at_most("isolated: calls beyond one per job, of those taken over", extra, kit.takeovers(here, ids))
        verdict.at_most("isolated: attempts charged", kit.charged(here, ids), 0)
        verdict.exactly("isolated: its exit code in the end", code, 0)
        here.check(verdict, ids, bills=[bill])
