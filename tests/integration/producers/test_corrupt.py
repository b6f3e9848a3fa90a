"""What Redis holds and is not ours is told as such, and costs nobody else anything."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import CorruptRecordError, JobHandle, Producer, Summarize
from penstock_schemas import keys
from tests.support.jobs import HandWorker, dump

RECORD, REQUEST, EVENTS = "<record>", "<request>", "<events>"


async def _listen(job: JobHandle[Any]) -> None:
    async for _ in job.events():
        pass


READS: list[Callable[[JobHandle[Any]], Awaitable[Any]]] = [
    JobHandle.status,
    JobHandle.request,
    lambda job: job.result(timeout_s=30),
    _listen,
    JobHandle.cancel,
]

DAMAGES: dict[str, list[tuple[Any, ...]]] = {
    "another type": [("DEL", RECORD), ("SET", RECORD, "x")],
    "half a hash": [("DEL", RECORD), ("HSET", RECORD, "v", "1", "tenant", "acme", "state", "queued")],
    "a hash of something else": [("DEL", RECORD), ("HSET", RECORD, "a", "b")],
    "unknown state": [("HSET", RECORD, "state", "asleep")],
    "a newer version": [("HSET", RECORD, "v", "999")],
    "a version that is no number": [("HSET", RECORD, "v", "one")],
}
ONLY_READ: dict[str, list[tuple[Any, ...]]] = {
    "bytes that are no text": [("HSET", RECORD, "task", b"\xff\xfe")],
    "a run that is no number": [("HSET", RECORD, "attempt", "many")],
    "a moment beyond time": [("HSET", RECORD, "created_at", "9" * 18)],
    "a result that is no JSON": [("HSET", RECORD, "result", "{")],
    "a result that is not one": [("HSET", RECORD, "result", "{}")],
    "a failure that is not one": [("HSET", RECORD, "failure", "[]")],
    "NaN in a result": [("HSET", RECORD, "result", '{"a": NaN}')],
}


async def damage(redis: Redis, job: JobHandle[Any], commands: list[tuple[Any, ...]]) -> None:
    """Run commands with the job's keys put in."""
    names: dict[Any, str] = {
        RECORD: keys.record(job.id),
        REQUEST: keys.request(job.id),
        EVENTS: keys.events(job.id),
    }
    for command in commands:
        await redis.execute_command(*(names.get(part, part) for part in command))


@pytest.mark.parametrize("commands", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("read", READS, ids=["status", "request", "result", "events", "cancel"])
async def test_a_corrupt_record_is_told_and_left_alone(
    producer: Producer,
    redis: Redis,
    commands: list[tuple[Any, ...]],
    read: Callable[[JobHandle[Any]], Awaitable[Any]],
) -> None:
    """Whatever is asked of the job; a cancel leaves it for the worker to bury."""
    job = await producer.enqueue(Summarize(text="A"))
    await damage(redis, job, commands)
    before = await dump(redis)
    with pytest.raises(CorruptRecordError) as refusal:
        await read(job)
    assert refusal.value.job_id == job.id
    assert not refusal.value.retriable
    assert await dump(redis) == before


@pytest.mark.parametrize("commands", ONLY_READ.values(), ids=ONLY_READ)
async def test_a_record_with_a_field_that_cannot_be_read_is_told(
    producer: Producer, redis: Redis, commands: list[tuple[Any, ...]]
) -> None:
    """One field is enough."""
    job = await producer.enqueue(Summarize(text="A"))
    await damage(redis, job, commands)
    with pytest.raises(CorruptRecordError):
        await job.status()


async def test_a_newer_version_is_named(producer: Producer, redis: Redis) -> None:
    """The reader is told what to do about it."""
    job = await producer.enqueue(Summarize(text="A"))
    await damage(redis, job, DAMAGES["a newer version"])
    for ask in (job.status, job.cancel):
        with pytest.raises(CorruptRecordError, match="upgrade this side"):
            await ask()


@pytest.mark.parametrize(
    "commands",
    [
        [("DEL", REQUEST)],
        [("SET", REQUEST, "{")],
        [("SET", REQUEST, '{"version":2}')],
        [("DEL", REQUEST), ("LPUSH", REQUEST, "x")],
    ],
    ids=["gone", "no JSON", "newer", "another type"],
)
async def test_a_corrupt_request_is_told(producer: Producer, redis: Redis, commands: list[tuple[Any, ...]]) -> None:
    """The status, which does not need it, is told all the same."""
    job = await producer.enqueue(Summarize(text="A"))
    await damage(redis, job, commands)
    with pytest.raises(CorruptRecordError):
        await job.request()
    assert (await job.status()).state == "queued"


@pytest.mark.parametrize(
    "commands",
    [
        [("XADD", EVENTS, "*", "a", "b")],
        [("XADD", EVENTS, "*", "type", "woken", "run", "1", "at", "1", "data", "[]")],
        [("XADD", EVENTS, "*", "type", "running", "run", "0", "at", "1", "data", "null")],
        [("XADD", EVENTS, "*", "type", "running", "run", "1", "at", "soon", "data", "x")],
        [("DEL", EVENTS), ("SET", EVENTS, "x")],
    ],
    ids=["fields", "type", "run", "moment", "another type"],
)
async def test_a_corrupt_event_is_told(producer: Producer, redis: Redis, commands: list[tuple[Any, ...]]) -> None:
    """It is not passed over: who listens would miss something."""
    job = await producer.enqueue(Summarize(text="A"))
    await damage(redis, job, commands)
    with pytest.raises(CorruptRecordError):
        await _listen(job)


async def test_another_job_is_not_touched_by_it(producer: Producer, redis: Redis, worker: HandWorker) -> None:
    """A corrupt neighbour in the same queue, the same batch."""
    bad, good = await producer.enqueue_many([Summarize(text="A"), Summarize(text="B")])
    await damage(redis, bad, DAMAGES["another type"])
    assert (await good.status()).state == "queued"
    for lease in await worker.claim(2):
        if lease.job_id == good.id:
            await worker.succeed(lease)
    assert (await good.result(timeout_s=30)).state == "succeeded"
