"""Re-attach instead of re-pay: killed while waiting for work in the background, the provider sees one create."""

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.crash_points import ALLOWED, ONCE, POINT
from tests.acceptance.conftest import StartWorker
from tests.support.wait import until

ASKED = Summarize(text="The mill stands by the river. Its wheel turns day and night.", max_words=20)
BACKGROUND = {
    "PENSTOCK_PROVIDERS__OPENAI__KIND": "openai-responses",
    "PENSTOCK_PROVIDERS__OPENAI__OPTIONS": '{"background": true}',
}


@pytest.fixture
async def simulator(bill: Path) -> AsyncIterator[Simulator]:
    """A provider that works for two seconds."""
    async with Simulator(bill=bill, latency="2s") as simulator:
        yield simulator


async def test_killed_while_waiting_the_provider_sees_one_create(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis, faults: Callable[..., list[str]]
) -> None:
    """The next worker finds the id in the journal and waits for the same work: one call, one payment, no attempt."""
    first = start_worker(env=BACKGROUND, concurrency=1)
    job = await producer.enqueue(ASKED)
    await until(lambda: redis.hexists(keys.journal(job.id), "1.1.1:response"))
    first.kill()
    start_worker(env=BACKGROUND)
    result = await job.result(timeout_s=20)
    assert (result.state, result.calls, result.attempts, result.uncertain_nanousd) == ("succeeded", 1, 1, 0)
    (call,) = simulator.calls()
    assert call.billed and result.usage.output_tokens == call.visible_output_tokens
    assert faults([job.id]) == []


async def test_an_id_that_the_provider_lost_is_an_unknown_end(
    producer: Producer,
    simulator: Simulator,
    start_worker: StartWorker,
    tmp_path: Path,
    faults: Callable[..., list[str]],
) -> None:
    """What it can have cost stays on the books, and the call is made anew."""
    crash = {**BACKGROUND, ALLOWED: "1", POINT: "attach.post", ONCE: str(tmp_path / "crashed")}
    job = await producer.enqueue(ASKED)
    first = start_worker(env=crash, concurrency=1)
    assert await first.ended() == -signal.SIGKILL
    assert simulator._provider.stored.delete(str(simulator.calls()[0].response_id))
    start_worker(env=BACKGROUND)
    result = await job.result(timeout_s=20)
    assert (result.state, result.calls, len(simulator.calls())) == ("succeeded", 2, 2)
    assert result.uncertain_nanousd > 0
    assert faults([job.id]) == []


async def test_a_cancel_cancels_the_work(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """At the provider too; nobody can know whether it was billed, so its worst case stays uncertain."""
    start_worker(env=BACKGROUND)
    job = await producer.enqueue(ASKED)
    await until(lambda: redis.hexists(keys.journal(job.id), "1.1.1:response"))
    await job.cancel()

    async def ended() -> Any:
        return await redis.hget(keys.journal(job.id), "1.1.1:end")  # type: ignore[misc]

    kind, _, end = (await until(ended)).partition(b" ")
    assert kind == b"unknown" and orjson.loads(end)["uncertain_nanousd"] > 0
    stored = simulator._provider.stored.get(str(simulator.calls()[0].response_id))
    assert stored is not None and stored["status"] == "cancelled"
