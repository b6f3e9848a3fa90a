"""Timeouts: a server that stalls at any phase of a call loses it at that phase's limit; slot and line are free."""

import socket
from collections.abc import Iterator

import pytest

from penstock import Producer, Summarize
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker
from tests.support.workers import work_off, worker_settings

TEXT = "The mill stands by the river. Its wheel turns day and night."
LONG, SHORT = 60.0, 0.6
PHASES = {
    # phase: (what the server does, streamed, the limit, the error)
    "first content, signs of life": ("comments-only every=100ms", True, "first_content_s", "timeout_first_content"),
    "idle content": ("hang-middle", True, "content_idle_s", "timeout_idle"),
    "idle content, slow bytes": ("drip bytes_per_s=200", True, "content_idle_s", "timeout_idle"),
    "whole call": ("slow-events every=200ms", True, "whole_call_s", "timeout_call"),
    "whole call, silent": ("hang", False, "whole_call_s", "timeout_call"),
}


@pytest.mark.parametrize("phase", PHASES)
async def test_a_stall_ends_at_its_limit(
    phase: str, producer: Producer, simulator: Simulator, start_worker: StartWorker
) -> None:
    """With its own error; the one slot serves the next job, and no connection of the call is left."""
    fault, stream, limit, error = PHASES[phase]
    limits = {"first_content_s": LONG, "content_idle_s": LONG, "whole_call_s": LONG, limit: SHORT}
    start_worker(concurrency=1, limits=limits, breaker=False)
    simulator.script([{"match": {"contains": "stalls"}, "fault": fault}])
    stalled = await producer.enqueue(
        Summarize(text=f"It stalls. {TEXT}"), max_attempts=1, on_failure="dead_letter", stream=stream
    )
    await simulator.until(lambda stats: stats.in_flight == 1)
    next_one = await producer.enqueue(Summarize(text=TEXT))
    assert (await next_one.result(timeout_s=30)).state == "succeeded"
    status = await stalled.status()
    assert status.failure and status.failure.last_error == error
    await simulator.until(lambda stats: stats.disconnects == 1 and stats.open_connections <= 1)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken, and nothing is ever said: no handshake comes about."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


async def test_a_connection_that_does_not_come_about(producer: Producer, silent_port: int, redis_url: str) -> None:
    """Surely nothing was sent: it costs nothing, and may be tried again."""
    settings = worker_settings(redis_url, f"https://127.0.0.1:{silent_port}/v1", limits={"connect_s": SHORT})
    job = await producer.enqueue(Summarize(text=TEXT), max_attempts=1, on_failure="dead_letter")
    await work_off(settings)
    status = await job.status()
    assert status.failure and status.failure.last_error == "connect_failed"
    amounts = await producer.link.execute("HMGET", f"penstock:job:{job.id}", "cost_nanousd", "uncertain_nanousd")
    assert {int(amount or 0) for amount in amounts} == {0}
