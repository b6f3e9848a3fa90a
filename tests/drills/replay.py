"""Hundreds of dead letters are replayed by a command that is killed again and again, and by two at once."""

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.drills import kit
from tests.drills.stage import Stage
from tests.drills.verdict import Verdict
from tests.support.processes import ROOT, ChildProcess


def main(argv: Sequence[str]) -> int:
    return kit.run("replay", argv, replays)


def replays(verdict: Verdict, options: kit.Options) -> None:
    letters, kills = options.pick((120, 2), (500, 5))
    with ExitStack() as stack:
        here = kit.worker_stage(stack, latency="5ms", count=2, concurrency=50)
        here.simulator.script(["refusal"])
        ids = kit.enqueue(here.server.url, letters, on_failure="dead_letter")
        kit.wait_quiet(here, 60)
        here.simulator.script([])
        with here.redis() as client:
            before = client.zcard("penstock:dead")
            dry = _command(here, "--dry-run")
            assert dry.wait(60) == 0, dry.output
            verdict.exactly(
                "dead letters before, and after a dry run", (before, client.zcard("penstock:dead")), (letters,) * 2
            )
        rng = random.Random(5)
        for _ in range(kills):
            command = _command(here)
            time.sleep(rng.uniform(0.3, 0.9))  # somewhere between its start and its end
            command.kill()
        both = [_command(here), _command(here)]
        verdict.exactly("exit codes of two at once", {one.wait(60) for one in both} <= {0, 1}, True)
        kit.wait_quiet(here, 60)
        here.workers.stop()
        with here.redis() as client:
            runs = {client.hget(f"penstock:job:{job_id}", "run") for job_id in ids}
        verdict.exactly("runs of each job", runs, {"2"})
        verdict.exactly("ended as succeeded", kit.states(here, ids)["succeeded"], letters)
        verdict.at_most("calls beyond two per job", sum(n - 2 for n in kit.calls_by_job(here).values()), 0)
        here.check(verdict, ids)


def _command(here: Stage, *options: str) -> ChildProcess:
    config = str(Path(here.folder) / "penstock.toml")
    arguments = [
        "-m",
        "penstock",
        "--config",
        config,
        "--tenant",
        "drill",
        "dead",
        "replay",
        "--all",
        "--yes",
        *options,
    ]
    return ChildProcess.python(*arguments, cwd=ROOT)
