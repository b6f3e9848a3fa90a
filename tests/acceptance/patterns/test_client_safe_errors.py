"""Client-safe errors: nothing that a provider says in an error is in a result, an event, a log, or Redis at all."""

from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock.dead_letters import DeadLetters
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker
from tests.support.jobs import dump

CANARY = "canary-7c1e-provider-words"
TEXT = "The mill stands by the river. Its wheel turns day and night."
STATUSES = [400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529]


@pytest.mark.parametrize("on_failure", ["degrade", "dead_letter"])
async def test_no_words_of_the_provider_get_out(
    on_failure: Any, producer: Producer, simulator: Simulator, start_worker: StartWorker, redis: Redis
) -> None:
    """For every status, and for a refusal in a good one: stable codes and our own sentences only."""
    specs = [f"status={status} message={CANARY} code={CANARY} type={CANARY}" for status in STATUSES]
    specs += [f"refusal text={CANARY}", f"error-in-200 code={CANARY}", f"redirect location=http://127.0.0.1:9/{CANARY}"]
    simulator.script([{"match": {"contains": f"case {n}."}, "fault": spec} for n, spec in enumerate(specs)])
    worker = start_worker(breaker=False)
    jobs = [
        await producer.enqueue(
            Summarize(text=f"{TEXT} It is case {n}."), max_attempts=1, on_failure=on_failure, deadline_s=3
        )
        for n in range(len(specs))
    ]
    codes = set()
    for job in jobs:
        async for event in job.events():
            assert CANARY not in str(event)
        status = await job.status()
        failure = status.failure if status.result is None else status.result.failure
        assert failure is not None
        assert CANARY not in status.model_dump_json()
        codes.add(failure.last_error)
    assert len(codes) >= 8
    if on_failure == "dead_letter":
        letters = [await DeadLetters(producer).show(job.id) for job in jobs]
        assert CANARY not in str(letters)
    assert CANARY not in str(await dump(redis))
    assert CANARY not in worker.output
