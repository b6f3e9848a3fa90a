"""A worker kills itself at each point between two writes: a call is repeated only while its answer is in the air."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from penstock_simulator.process import SimulatorProcess
from penstock_store.server import RedisServer
from penstock_worker.crash_points import ALLOWED, ONCE, POINT, POINTS
from tests.drills import checker, kit
from tests.drills.supervisor import supervised
from tests.drills.verdict import Verdict
from tests.support.servers import server_binary
from tests.support.wait import wait_until
from tests.support.worker_processes import worker_argv, write_config

TWICE = {"settle.pre"}
"""Points at which an answer is paid for and only in memory."""

_AT_ONCE = 3
OPTIONS: dict[str, Any] = {"budgets": kit.BUDGETS, "breaker": False}
"""Every second call fails at the points before a retry: a breaker would rightly open."""


def main(argv: Sequence[str]) -> int:
    return kit.run("crash_points", argv, sweep)


def sweep(verdict: Verdict, options: kit.Options) -> None:
    def one(point: str) -> Verdict:
        found = Verdict(point)
        crash(found, point, options.pick(1, 20))
        return found

    with ThreadPoolExecutor(_AT_ONCE) as threads:  # a crash is mostly a wait for the end of a lease
        for found in threads.map(one, POINTS):
            verdict.figures += found.figures
            verdict.faults += found.faults


def crash(verdict: Verdict, point: str, times: int) -> None:
    """So many crashes at one point, each of one worker that holds one job."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="penstock-drill-")))
        server = stack.enter_context(RedisServer(binary=server_binary()))
        simulator = stack.enter_context(SimulatorProcess(bill=folder / "bill.jsonl"))
        config = write_config(
            folder, server.url, simulator.base_url, lease_s=1.5, heartbeat_s=0.5, concurrency=1, **OPTIONS
        )
        ids: list[str] = []
        for n in range(times):
            if point.startswith("retry"):
                simulator.script(["500 times=1"])
            ids += kit.enqueue(server.url, 1)
            env = {ALLOWED: "1", POINT: point, ONCE: str(folder / f"crashed-{n}")}
            with supervised(worker_argv(config), count=1, env=env, restart_after_s=0.01) as workers:
                workers.wait_started(2, 30)
                with client_of(server.url) as client:
                    wait_until(lambda client=client: client.hget("penstock:counts", "open") == "0", 30)  # type: ignore[misc]
        planned = times * (2 if point in TWICE or point.startswith("retry") else 1)
        verdict.exactly(f"{point}: calls for {times} jobs", len(simulator.calls()), planned)
        with client_of(server.url) as client:
            found = checker.faults(checker.read(client, ids, folder / "bill.jsonl"))
        verdict.none_of(f"{point}: faults found by the checker", found)


def client_of(url: str) -> redis.Redis:
    """A client that decodes."""
    return redis.Redis.from_url(url, decode_responses=True)
