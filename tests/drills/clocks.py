"""Every machine has another time of day, and one steps back meanwhile: jobs start, wait and end as if none had."""

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from tests.drills import kit
from tests.drills.stage import Stage, stage
from tests.drills.verdict import Verdict
from tests.support.processes import ROOT
from tests.support.worker_processes import worker_argv, write_config

_SOURCE = Path(__file__).parent / "shifted_clock.c"
_ENQUEUE = """
import json, sys, time
from tests.drills import kit
ids = kit.enqueue(sys.argv[1], int(sys.argv[2]))
late = kit.enqueue(sys.argv[1], int(sys.argv[2]), delay_s=float(sys.argv[3]))
print(json.dumps({"now": [ids, late], "clock": time.time()}))
"""
_WORKER_SHIFT_S, _STEP_S, _DELAY_S = 300, -60, 4.0


def main(argv: Sequence[str]) -> int:
    return kit.run("clocks", argv, clocks)


def clocks(verdict: Verdict, options: kit.Options) -> None:
    if shutil.which("cc") is None:
        verdict.skip("there is no C compiler to make a wrong clock with")
        return
    jobs = options.pick(20, 25)
    with ExitStack() as stack:
        here = stack.enter_context(stage(_argv, workers=3, latency="100ms"))
        for child in here.workers.started:
            child.wait_event("worker_started", timeout_s=30)
        warm = kit.enqueue(here.server.url, 60)  # a worker's first second is spent on loading
        kit.wait_quiet(here, 60)
        ids: list[str] = []
        late: list[str] = []
        for shift_s in (3600, -3600):
            some, others = _enqueue(here, jobs, shift_s, verdict)
            ids, late = ids + some, late + others
        _set(here.folder / "worker-clock", _WORKER_SHIFT_S + _STEP_S)
        kit.wait_quiet(here, 120)
        here.workers.stop()
        every = ids + late
        rows = [_row(here, job_id) for job_id in every]
        starts_ms = [row["started_at"] - row["due_at"] for row in rows]
        verdict.exactly("ended as succeeded", kit.states(here, every)["succeeded"], 4 * jobs)
        verdict.at_most("ms from when a job was due to its start", max(starts_ms), 1_000)
        verdict.at_least("ms from when a job was due to its start", min(starts_ms), 0)
        planned = [row["due_at"] - row["created_at"] for row in rows[len(ids) :]]
        verdict.exactly("ms of delay asked for and kept", set(planned), {int(_DELAY_S * 1000)})
        verdict.at_least("ms from start to end", min(row["ended_at"] - row["started_at"] for row in rows), 0)
        verdict.exactly("takeovers", kit.takeovers(here, every), 0)
        verdict.at_most("calls beyond one per job", kit.extra_calls(here), 0)
        here.check(verdict, warm + every)


def _argv(folder: Path, redis_url: str, base_url: str) -> list[str]:
    clock = folder / "worker-clock"
    _set(clock, _WORKER_SHIFT_S)
    command = worker_argv(write_config(folder, redis_url, base_url))
    return ["/usr/bin/env", *_shifted(folder, clock), *command]


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
