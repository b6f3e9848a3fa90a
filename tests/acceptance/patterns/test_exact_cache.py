"""Exact cache: the same job in another tenant misses, and invalid answers are never stored."""

from redis.asyncio import Redis

from penstock import Classify, Producer
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

ASKED = Classify(text="The dog barks at the mill.", labels=["dogs", "cats"])


async def test_the_same_job_in_another_tenant_misses(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis_url: str
) -> None:
    """Of one tenant the second job makes no call; of another it makes one."""
    start_worker(route={"cache_s": 60})
    first = await producer.run(ASKED, timeout_s=20)
    again = await producer.run(ASKED, timeout_s=20)
    assert (first.cache_hit, again.cache_hit, len(simulator.calls())) == (False, True, 1)
    assert again.reused and again.reused.would_have_cost_nanousd == first.cost_nanousd
    async with Producer.connect(redis_url, tenant="other") as other:
        assert not (await other.run(ASKED, timeout_s=20)).cache_hit
    assert len(simulator.calls()) == 2


async def test_invalid_answers_are_never_stored(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """A label that is none, again and again: the job degrades, and nothing is kept."""
    simulator.script(["wrong-label"])
    start_worker(route={"cache_s": 60})
    result = await producer.run(ASKED, timeout_s=30, max_attempts=1)
    assert result.state == "degraded"
    assert [name async for name in redis.scan_iter(keys.cache("acme", "*"))] == []
