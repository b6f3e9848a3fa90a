"""What stands under our keys and is none of ours ends that one job and stops nobody."""

import json
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from penstock import Extract, Producer, Summarize
from penstock.handle import JobHandle
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.wait import until
from tests.support.workers import LoopWatch, work_off, working

ASKED = Summarize(text="The mill stands by the river.")


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mknod, (str(self.path),))


async def hset(redis: Redis, job_id: str, **fields: Any) -> None:
    await redis.hset(keys.record(job_id), mapping=fields)  # type: ignore[misc]


async def no_request(redis: Redis, job_id: str) -> None:
    await redis.delete(keys.request(job_id))


async def request_of_garbage(redis: Redis, job_id: str) -> None:
    await redis.set(keys.request(job_id), b"\xff\x00 not json")


async def request_of_another_shape(redis: Redis, job_id: str) -> None:
    await redis.set(keys.request(job_id), b'{"task": "summarize", "surprise": 1}')


async def request_of_another_task(redis: Redis, job_id: str) -> None:
    request = orjson.loads(await redis.get(keys.request(job_id)))
    await redis.set(keys.request(job_id), orjson.dumps({**request, "task": "nobody_knows_it"}))


async def request_of_another_type(redis: Redis, job_id: str) -> None:
    await redis.delete(keys.request(job_id))
    await redis.lpush(keys.request(job_id), "x")  # type: ignore[misc]


async def record_of_another_type(redis: Redis, job_id: str) -> None:
    await redis.set(keys.record(job_id), "a string")


async def half_a_record(redis: Redis, job_id: str) -> None:
    await redis.hdel(keys.record(job_id), "run", "created_at")  # type: ignore[misc]


async def unknown_state(redis: Redis, job_id: str) -> None:
    await hset(redis, job_id, state="levitating")


async def negative_attempt(redis: Redis, job_id: str) -> None:
    await hset(redis, job_id, attempt=-1)


async def attempt_of_text(redis: Redis, job_id: str) -> None:
    await hset(redis, job_id, attempt="many")


async def deadline_of_text(redis: Redis, job_id: str) -> None:
    await hset(redis, job_id, deadline_at="tomorrow")


async def version_of_text(redis: Redis, job_id: str) -> None:
    await hset(redis, job_id, v="newest")


async def journal_of_garbage(redis: Redis, job_id: str) -> None:
    await redis.hset(keys.journal(job_id), "1.1.1", "not json")  # type: ignore[misc]


async def journal_of_another_type(redis: Redis, job_id: str) -> None:
    await redis.set(keys.journal(job_id), "a string")


async def events_of_another_type(redis: Redis, job_id: str) -> None:
    await redis.delete(keys.events(job_id))
    await redis.set(keys.events(job_id), "a string")


RUINS = [
    *(no_request, request_of_garbage, request_of_another_shape, request_of_another_task, request_of_another_type),
    *(record_of_another_type, half_a_record, unknown_state, negative_attempt, attempt_of_text, deadline_of_text),
    *(version_of_text, journal_of_garbage, journal_of_another_type, events_of_another_type),
]


async def state_of(redis: Redis, job: JobHandle[Any]) -> tuple[str, str | None]:
    state, failure = await redis.hmget(keys.record(job.id), "state", "failure")  # type: ignore[misc]
    return state.decode(), orjson.loads(failure)["code"] if failure else None


async def test_every_ruin_is_buried_and_the_others_go_on(
    producer: Producer, redis: Redis, settings: Callable[..., Settings]
) -> None:
    """Each ends as corrupt_record, listed as a dead letter; the sound jobs between them succeed."""
    jobs = {ruin.__name__: await producer.enqueue(ASKED) for ruin in RUINS}
    for ruin in RUINS:
        await ruin(redis, jobs[ruin.__name__].id)
    sound = [await producer.enqueue(ASKED) for _ in range(5)]
    await work_off(settings(concurrency=3))

    ends = {name: await state_of(redis, job) for name, job in jobs.items()}
    assert ends == dict.fromkeys(jobs, ("dead", "corrupt_record"))
    assert {(await job.status()).state for job in sound} == {"succeeded"}
    listed = {member.decode() for member in await redis.zrange(keys.state_index("dead"), 0, -1)}
    assert listed == {job.id for job in jobs.values()}
    counts = {name.decode(): int(value) for name, value in (await redis.hgetall(keys.COUNTS)).items()}  # type: ignore[misc]
    assert {name: counts.get(name, 0) for name in ("open", "queued", "scheduled", "running")} == {
        "open": 0,
        "queued": 0,
        "scheduled": 0,
        "running": 0,
    }


@pytest.mark.parametrize("key", [keys.request, keys.record, keys.arq_job])
async def test_a_pickle_is_never_opened(
    tmp_path: Path, producer: Producer, redis: Redis, settings: Callable[..., Settings], key: Callable[[str], str]
) -> None:
    """Wherever it stands: no code of it runs."""
    touched = tmp_path / "touched"
    job, sound = await producer.enqueue(ASKED), await producer.enqueue(ASKED)
    await redis.set(key(job.id), pickle.dumps(Bomb(touched)))
    await work_off(settings())
    assert not touched.exists()
    assert (await sound.status()).state == "succeeded"
    if key is not keys.arq_job:  # which none of ours reads
        assert await state_of(redis, job) == ("dead", "corrupt_record")


@pytest.mark.parametrize("job_id", [b"nobody", b"\xff\xfe\x00", "mühle".encode()])
async def test_an_id_without_a_record_is_dropped_and_counted(
    producer: Producer, redis: Redis, settings: Callable[..., Settings], job_id: bytes
) -> None:
    """It is not looked at for ever."""
    sound = await producer.enqueue(ASKED)
    queue = keys.queue("standard", "acme")
    await redis.zadd(queue, {job_id: 1})
    await work_off(settings())
    assert (await sound.status()).state == "succeeded"
    assert await redis.zscore(queue, job_id) is None
    assert await redis.hget(keys.COUNTS, "dropped") == b"1"  # type: ignore[misc]


async def test_a_record_under_an_id_that_is_no_text_is_buried(
    producer: Producer, redis: Redis, settings: Callable[..., Settings]
) -> None:
    """Its bytes are taken as they are."""
    raw = b"\xff\xfe"
    await redis.hset(b"penstock:job:" + raw, mapping={"v": 1, "tenant": "acme", "state": "queued"})  # type: ignore[misc]
    await redis.zadd(keys.queue("standard", "acme"), {raw: 1})
    await redis.zadd(keys.ring("standard"), {"acme": 0})
    await redis.hincrby(keys.COUNTS, "open", 1)  # type: ignore[misc]
    await work_off(settings())
    assert await redis.hget(b"penstock:job:" + raw, "state") == b"dead"  # type: ignore[misc]


@pytest.mark.parametrize("where", ["record", "request"])
async def test_a_newer_version_is_left_alone(
    producer: Producer, redis: Redis, settings: Callable[..., Settings], where: str
) -> None:
    """Uncharged, for a worker that knows it; the others go on."""
    job, sound = await producer.enqueue(ASKED), await producer.enqueue(ASKED)
    if where == "record":
        await hset(redis, job.id, v=999)
    else:
        request = orjson.loads(await redis.get(keys.request(job.id)))
        await redis.set(keys.request(job.id), orjson.dumps({**request, "version": 2, "new_field": 1}))
    async with working(settings()):
        await sound.result(timeout_s=30)
        await until(lambda: _waits(redis, job))
    row = await redis.hgetall(keys.record(job.id))  # type: ignore[misc]
    assert (row[b"attempt"], row[b"calls"]) == (b"0", b"0")
    assert row[b"state"] in (b"queued", b"scheduled")


async def _waits(redis: Redis, job: JobHandle[Any]) -> bool:
    """Whether the job was looked at and put off."""
    seconds, _ = await redis.time()
    score = await redis.zscore(keys.queue("standard", "acme"), job.id)
    state = await redis.hget(keys.record(job.id), "state")  # type: ignore[misc]
    return score is not None and score > seconds * 1000 + 500 and state != b"running"


async def test_a_hostile_schema_and_answer_do_not_hold_up_the_others(
    producer: Producer, settings: Callable[..., Settings], simulator: Simulator
) -> None:
    """While answers are judged that take seconds, the event loop is never silent for half a second."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "uniqueItems": True, "items": {"type": "object"}}},
        "required": ["a"],
    }
    answer = json.dumps({"a": [{"x": list(range(n, n + 20))} for n in range(8_000)]})
    simulator.script([{"match": {"contains": "hostile"}, "answer": answer}])
    hostile = [
        await producer.enqueue(Extract(text=f"hostile {n}", schema=schema), max_attempts=1, on_failure="dead_letter")
        for n in range(2)
    ]
    watch = LoopWatch()
    with watch:
        async with working(settings(route={"max_output_tokens": 100_000})):
            await _both(producer, simulator, watch, hostile)
    assert watch.worst_s < 0.5


async def _both(producer: Producer, simulator: Simulator, watch: LoopWatch, hostile: list[JobHandle[Any]]) -> None:
    await simulator.until(lambda stats: stats.requests >= len(hostile))
    watch.reset()
    for _ in range(20):
        assert (await producer.run(ASKED, timeout_s=10)).state == "succeeded"
    for job in hostile:
        await until(partial(_ended, job), timeout_s=40)


async def _ended(job: JobHandle[Any]) -> bool:
    return (await job.status()).state.terminal
