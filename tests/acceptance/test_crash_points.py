"""A worker that kills itself between two writes: nothing is lost, nothing is doubled, nothing paid for is bought twice.

Only a call that was sent and whose answer was not yet written down can be made a second time.
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock import Producer, Summarize
from penstock_simulator.simulator import Simulator
from penstock_worker.crash_points import ALLOWED, ONCE, POINT, POINTS
from tests.acceptance.conftest import StartWorker
from tests.support.processes import Processes
from tests.support.worker_processes import worker_argv, write_config

JOBS = [Summarize(text=f"Text {n}. The mill stands by the river, and its wheel turns day and night.") for n in range(3)]

CALLS = {
    "claim.post": 1,
    "intent.pre": 1,
    "intent.post": 1,
    "settle.pre": 2,  # the answer died with the worker
    "settle.post": 1,
    "finish.pre": 1,
    "finish.post": 1,
    "retry.pre": 2,  # one that failed, one that did not
    "retry.post": 2,
}


def test_every_point_is_tried() -> None:
    """One that is added has to be thought about."""
    assert set(CALLS) == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_at_this_point_costs_at_most_the_call_in_the_air(
    point: str,
    tmp_path: Path,
    producer: Producer,
    simulator: Simulator,
    start_worker: StartWorker,
    faults: Callable[..., list[str]],
) -> None:
    """The job it hits is made by another worker, uncharged; the others were not hit or made no call twice either."""
    if point.startswith("retry"):
        simulator.script(["500 times=1"])
    crash = {ALLOWED: "1", POINT: point, ONCE: str(tmp_path / "crashed")}
    jobs = await producer.enqueue_many(JOBS)
    first = start_worker(env=crash, concurrency=1)
    assert await first.ended() == -signal.SIGKILL
    second = start_worker(env=crash)  # which finds that the crash has been
    results = await asyncio.gather(*(job.result(timeout_s=20) for job in jobs))
    second.terminate()
    assert await second.ended() == 0

    calls = {job.id: 0 for job in jobs}
    for call in simulator.calls():
        calls[(call.caller_id or "").split(":")[0]] += 1
    assert sorted(calls.values()) == [1, 1, CALLS[point]]
    charged = 2 if point.startswith("retry") else 1
    assert sorted(result.attempts for result in results) == [1, 1, charged]
    assert {result.state for result in results} == {"succeeded"}
    assert faults([job.id for job in jobs]) == []


@pytest.mark.parametrize(
    "variables",
    [
        {POINT: "settle.pre"},
        {POINT: "settle.pre", ALLOWED: "0"},
        {ONCE: "/tmp/crashed"},
        {POINT: "no.such", ALLOWED: "1"},
    ],
)
async def test_a_crash_point_is_refused_outside_of_tests(
    tmp_path: Path, redis_url: str, simulator: Simulator, processes: Processes, variables: dict[str, str]
) -> None:
    """Exit 3, naming the variable, before anything is claimed."""
    config = write_config(tmp_path, redis_url, simulator.base_url)
    worker = processes.python(*worker_argv(config)[1:], env=variables)
    assert await worker.ended() == 3
    assert POINT in worker.output or ONCE in worker.output
    assert worker.events("worker_started") == []
