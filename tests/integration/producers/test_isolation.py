"""Another tenant's job looks exactly like no job at all, whatever is asked of it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import JobHandle, JobNotFoundError, Producer, Summarize
from tests.support.jobs import HandWorker, dump

NOWHERE = "0" * 32


async def _listen(job: JobHandle[Any]) -> None:
    async for _ in job.events():
        raise AssertionError("an event of another tenant's job")


async def _listen_behind(job: JobHandle[Any]) -> None:
    async for _ in job.events(after="1-1"):
        raise AssertionError("an event of another tenant's job")


ASKS: dict[str, Callable[[JobHandle[Any]], Awaitable[Any]]] = {
    "status": JobHandle.status,
    "request": JobHandle.request,
    "result": lambda job: job.result(timeout_s=30),
    "result, one look": lambda job: job.result(timeout_s=0),
    "events": _listen,
    "events behind an id": _listen_behind,
    "cancel": JobHandle.cancel,
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
async def test_another_tenants_job_is_not_found(
    producer: Producer,
    other: Producer,
    redis: Redis,
    worker: HandWorker,
    ask: Callable[[JobHandle[Any]], Awaitable[Any]],
    ended: bool,
) -> None:
    """The same error with the same words and as many commands as for an id that never was; nothing changes."""
    job = await producer.enqueue(Summarize(text="Secret."))
    if ended:
        await worker.succeed(await worker.claim_one(), {"summary": "Secret. " * 10_000})
    before = await dump(redis)
    seen = []
    for job_id in (job.id, NOWHERE):
        calls = other.batcher.calls
        with pytest.raises(JobNotFoundError) as refusal:
            await ask(other.job(job_id))
        seen.append((refusal.value.as_dict() | {"job_id": None}, other.batcher.calls - calls))
        assert "Secret" not in str(refusal.value)
    first, missing = seen
    assert first[0]["message"].replace(job.id, NOWHERE) == missing[0]["message"]
    assert first[0].keys() == missing[0].keys()
    if first[1] != missing[1]:  # the first use of a script sends its text as well
        assert first[1] == missing[1] + 1
    assert await dump(redis) == before
