"""Stream to humans, buffer to machines: without the flag no piece of an answer is written anywhere."""

from redis.asyncio import Redis

from penstock import Extract, Producer
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

SCHEMA = {"type": "object", "properties": {"total": {"type": ["number", "null"]}, "name": {"type": ["string", "null"]}}}
ASKED = Extract(text="Total: 120.5\nName: Jane Miller\n", schema=SCHEMA)


async def test_an_extraction_without_the_flag_streams_nothing(
    producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """Also where the worker itself streams: readers see states and progress, and then the whole, checked object."""
    job = await producer.enqueue(ASKED)
    asked_for = await producer.enqueue(ASKED, stream=True)
    start_worker(route={"max_output_tokens": 8_000})
    result = await job.result(timeout_s=30)
    await asked_for.result(timeout_s=30)
    assert {call.stream for call in simulator.calls()} == {True}
    events = [event async for event in job.events()]
    assert {event.type for event in events} <= {"queued", "running", "progress", "succeeded"}
    written = b"".join(value for _, row in await redis.xrange(f"penstock:events:{job.id}") for value in row.values())
    assert b"120.5" not in written and b"Jane" not in written
    assert result.output["total"] == 120.5
    assert "delta" in {event.type async for event in asked_for.events()}
