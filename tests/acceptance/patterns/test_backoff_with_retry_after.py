"""Backoff with Retry-After: one throttle holds its target for all workers, and no slot, until the time it says."""

from penstock import Classify, Producer, Summarize
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

TEXT = "The mill stands by the river. Its wheel turns day and night."
WAIT_MS = 2_000


async def test_no_call_before_the_time_from_any_worker(
    producer: Producer, simulator: Simulator, start_worker: StartWorker
) -> None:
    """Two workers with one slot each, ten jobs behind one that was throttled, and another target that goes on."""
    simulator.script([{"match": {"model": "gpt-4o-mini"}, "fault": f"429 retry-after={WAIT_MS // 1000}", "times": 1}])
    for _ in range(2):
        start_worker(concurrency=1, routes={"classify": {"targets": ["openai/gpt-4o"]}})
    first = await producer.enqueue(Summarize(text=TEXT), max_attempts=1)
    await simulator.until(lambda stats: stats.statuses[429] == 1)
    rest = [await producer.enqueue(Summarize(text=f"{n}. {TEXT}"), max_attempts=1) for n in range(10)]
    other = await producer.run(Classify(text=TEXT, labels=["mills", "bugs"]), timeout_s=20)
    assert other.state == "succeeded"  # the slots are free
    results = [await job.result(timeout_s=40) for job in (first, *rest)]
    assert {(result.state, result.attempts) for result in results} == {("succeeded", 1)}
    throttle, *calls = [call for call in simulator.calls() if call.model == "gpt-4o-mini"]
    assert throttle.ended_at_ms is not None
    assert min(call.started_at_ms for call in calls) >= throttle.ended_at_ms + WAIT_MS - 50
