"""Every machine has another time of day, and one steps back meanwhile: jobs start, wait and end as if none had."""

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, cast

from tests.drills import kit
from tests.drills.stage import Stage, stage
from tests.drills.verdict import Verdict
from tests.support.processes import ROOT, ChildProcess
from tests.support.worker_processes import worker_argv, write_config

_SOURCE = Path(__file__).parent / "shifted_clock.c"
_ENQUEUE = """
import json, sys, time
from tests.drills import kit
ids = kit.enqueue(sys.argv[1], int(sys.argv[2]))
late = kit.enqueue(sys.argv[1], int(sys.argv[2]), delay_s=float(sys.argv[3]))
print(json.dumps({"now": [ids, late], "clock": time.time()}))
"""
_WORKER_SHIFT_S, _STEP_S, _DELAY_S, _LONG_MS = 300, -60, 4.0, 1_000


def main(argv: Sequence[str]) -> int:
    return kit.run("clocks", argv, clocks)


def clocks(verdict: Verdict, options: kit.Options) -> None:
    if shutil.which("cc") is None:
        verdict.skip("there is no C compiler to make a wrong clock with")
        return
    jobs = options.pick(20, 50)
    with ExitStack() as stack:
        here = stack.enter_context(stage(_argv_at(_WORKER_SHIFT_S), workers=2, latency="100ms"))
        slow = _argv_at(-_WORKER_SHIFT_S)(here.folder, here.proxy.url, here.simulator.base_url)
        third = stack.enter_context(ChildProcess(slow))
        for child in (*here.workers.started, third):
            child.wait_event("worker_started", timeout_s=30)
        warm = kit.enqueue(here.server.url, 60)  # a worker's first second is spent on loading
        kit.wait_quiet(here, 60)
        here.simulator.script([f"500 times={2 * jobs + jobs // 4}"])
        retried = kit.enqueue(here.server.url, jobs)
        here.simulator.until(lambda stats: stats.statuses[500] >= 2 * jobs + jobs // 4, timeout_s=30)
        ids: list[str] = []
        late: list[str] = []
        for shift_s in (3600, -3600):
            some, others = _enqueue(here, jobs, shift_s, verdict)
            ids, late = ids + some, late + others
        for shift_s in (_WORKER_SHIFT_S, -_WORKER_SHIFT_S):
            _set(_worker_clock(here.folder, shift_s), shift_s + _STEP_S)
        kit.wait_quiet(here, 120)
        here.workers.stop()
        third.terminate()
        verdict.exactly("the third worker's exit code", third.wait(30), 0)
        every = ids + late
        rows = [_row(here, job_id) for job_id in every]
        starts_ms = [row["started_at"] - row["due_at"] for row in rows]
        verdict.exactly("ended as succeeded", kit.states(here, every + retried)["succeeded"], 5 * jobs)
        verdict.at_most("ms from when a job was due to its start", max(starts_ms), 1_000, speed=True)
        verdict.at_least("ms from when a job was due to its start", min(starts_ms), 0)
        planned = [row["due_at"] - row["created_at"] for row in rows[len(ids) :]]
        verdict.exactly("ms of delay asked for and kept", set(planned), {int(_DELAY_S * 1000)})
        waits = [wait for job_id in retried for wait in _retry_waits_ms(here, job_id)]
        verdict.at_least("retries", len(waits), 2 * jobs)
        verdict.at_least("ms from a retry's plan to its start", min(real - plan for plan, real in waits), 0)
        off = median((real - plan) / plan for plan, real in waits if plan >= _LONG_MS)
        verdict.at_most(
            "retries of a second and more: how late, of their plan, median", round(off, 3), 0.05, speed=True
        )
        lasted = [row["ended_at"] - row["started_at"] for row in (*rows, *(_row(here, one) for one in retried))]
        verdict.at_least("ms from start to end", min(lasted), 0)
        verdict.exactly("takeovers", kit.takeovers(here, every + retried), 0)
        beyond = kit.extra_calls(here) - len(waits)
        verdict.at_most("calls beyond one per job and retry", beyond, 0)
        here.check(verdict, warm + retried + every)


def _argv_at(shift_s: int) -> Callable[[Path, str, str], list[str]]:
    """The command of a worker whose clock is so far off."""

    def argv(folder: Path, redis_url: str, base_url: str) -> list[str]:
        clock = _worker_clock(folder, shift_s)
        _set(clock, shift_s)
        config = write_config(folder, redis_url, base_url, budgets=kit.BUDGETS, breaker=False)
        return ["/usr/bin/env", *_shifted(folder, clock), *worker_argv(config)]

    return argv


def _worker_clock(folder: Path, shift_s: int) -> Path:
    return folder / f"worker-clock{shift_s}"


def _retry_waits_ms(here: Stage, job_id: str) -> list[tuple[int, int]]:
    """For each retry how long it was planned to wait, and how long it did, by Redis' clock."""
    with here.redis() as client:
        events = cast("list[tuple[str, dict[str, str]]]", client.xrange(f"penstock:events:{job_id}"))
    rows = [row for _, row in events if row["type"] in ("scheduled", "running")]
    return [
        (json.loads(before["data"])["due_at_ms"] - int(before["at"]), int(after["at"]) - int(before["at"]))
        for before, after in pairwise(rows)
        if (before["type"], after["type"]) == ("scheduled", "running")
    ]


def _shifted(folder: Path, clock: Path) -> list[str]:
    """Variables that give a process the clock in this file."""
    library = folder / "shifted_clock.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True)
    return [f"LD_PRELOAD={library}", f"DRILL_CLOCK={clock}"]


def _set(clock: Path, shift_s: int) -> None:
    """In place: whoever has mapped the file sees it."""
    with clock.open("r+b" if clock.exists() else "wb") as file:
        file.write(struct.pack("=q", shift_s))


def _enqueue(here: Stage, jobs: int, shift_s: int, verdict: Verdict) -> tuple[list[str], list[str]]:
    """Enqueue from a process whose clock is wrong: jobs for now, and jobs for later."""
    clock = here.folder / f"producer-clock{shift_s}"
    _set(clock, shift_s)
    shifted = ["/usr/bin/env", *_shifted(here.folder, clock)]
    command = [*shifted, sys.executable, "-c", _ENQUEUE, here.server.url, str(jobs), str(_DELAY_S)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    with here.redis() as client:
        seconds, _ = cast("tuple[int, int]", client.time())
    verdict.at_most(
        f"s between the producer's clock and {shift_s} s", round(abs(told["clock"] - seconds - shift_s)), 30
    )
    return told["now"][0], told["now"][1]


def _row(here: Stage, job_id: str) -> dict[str, Any]:
    names = ("created_at", "due_at", "started_at", "ended_at")
    with here.redis() as client:
        values = cast("list[str]", client.hmget(f"penstock:job:{job_id}", list(names)))
    return {name: int(value) for name, value in zip(names, values, strict=True)}
