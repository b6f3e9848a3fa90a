"""One envelope of calls over retries, fallbacks, remedies and redelivery: HTTP requests ≤ N, always."""

from typing import Any

import pytest

from penstock import Producer, Summarize
from penstock_simulator.simulator import Simulator
from penstock_worker.attempt.attempt import CALLS_PER_ATTEMPT
from tests.support.workers import worker_settings, working

TEXT = "The mill stands by the river. Its wheel turns day and night. The miller sleeps well, for the sluice holds. " * 3
TARGETS = ("openai/gpt-4o-mini", "openai/gpt-4o", "openai/gpt-4.1", "openai/gpt-4.1-mini")
MAX_ATTEMPTS = 2

STORMS: dict[str, list[Any]] = {
    "bad answers": ["wrong-schema"],
    "cut off": ["length"],
    "lost": ["cut-before"],
    "errors": ["500"],
    "schema, then bad": ["schema-unsupported times=3", "wrong-schema"],
    "a mix": [
        {"match": {"every": 5}, "fault": "429 retry-after-ms=1"},
        {"match": {"every": 3}, "fault": "500"},
        {"match": {"every": 2}, "fault": "wrong-schema"},
        {"fault": "cut-before"},
    ],
}


@pytest.mark.parametrize("storm", STORMS)
async def test_no_storm_makes_a_job_send_more_than_its_envelope(
    redis_url: str, producer: Producer, simulator: Simulator, storm: str
) -> None:
    """Four targets, two attempts: twelve requests, and what was turned away unread beside them."""
    simulator.script(STORMS[storm])
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20), max_attempts=MAX_ATTEMPTS)
    settings = worker_settings(redis_url, simulator.base_url, targets=TARGETS, breaker={"enabled": False})
    async with working(settings):
        result = await job.result(timeout_s=60)
    assert result.state == "degraded"
    turned_away = sum(call.status == 429 for call in simulator.calls())
    assert len(simulator.calls()) == result.calls <= MAX_ATTEMPTS * CALLS_PER_ATTEMPT + turned_away
    assert turned_away <= 6
