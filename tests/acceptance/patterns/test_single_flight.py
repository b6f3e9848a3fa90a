"""Single flight: identical jobs at once make one call; who leads may die."""

import asyncio

from penstock import Classify, Producer
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

ASKED = Classify(text="The dog barks at the mill.", labels=["dogs", "cats"])


async def test_a_hundred_identical_jobs_make_one_call(
    producer: Producer, simulator: Simulator, start_worker: StartWorker
) -> None:
    """Two workers, a hundred results, one call; its cost stands in each of them."""
    simulator.script(["delay seconds=0.3"])
    for _ in range(2):
        start_worker(route={"single_flight": True})
    jobs = await producer.enqueue_many([ASKED] * 100)
    results = await asyncio.gather(*(job.result(timeout_s=30) for job in jobs))
    assert len(simulator.calls()) == 1
    paid = [result for result in results if not result.cache_hit]
    assert len(paid) == 1 and paid[0].cost_nanousd
    shared = {result.reused.would_have_cost_nanousd for result in results if result.reused}
    assert shared == {paid[0].cost_nanousd}


async def test_when_the_worker_of_the_one_that_leads_is_killed_another_takes_over(
    producer: Producer, simulator: Simulator, start_worker: StartWorker
) -> None:
    """All have their answers; beside the call that was cut off there is one."""
    simulator.script(["hang times=1"])
    jobs = await producer.enqueue_many([ASKED] * 5)
    first = start_worker(route={"single_flight": True}, concurrency=1)
    await simulator.until(lambda stats: stats.requests == 1)
    start_worker(route={"single_flight": True})
    first.kill()
    results = await asyncio.gather(*(job.result(timeout_s=30) for job in jobs))
    assert {result.state for result in results} == {"succeeded"}
    assert simulator.stats().requests == 2
