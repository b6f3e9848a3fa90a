"""One key, one job: from many processes at once, after its end, and for as long as was promised."""

import asyncio
import json
import sys
from collections import Counter

import pytest
from redis.asyncio import Redis

from penstock import Extract, IdempotencyConflictError, Producer, Retention, Summarize
from penstock_schemas import keys
from penstock_schemas.strict_json import digest
from tests.support.jobs import HandWorker, dump
from tests.support.tasks import Translate
from tests.support.wait import until

STAMPEDE = """
import asyncio, json, sys
from penstock import IdempotencyConflictError, Producer, Summarize

async def one(producer, text):
    try:
        job = await producer.enqueue(Summarize(text=text), idempotency_key="stampede")
        return [text, job.id, job.created]
    except IdempotencyConflictError as conflict:
        return [text, conflict.job_id, "conflict"]

async def main(url, count, texts):
    async with Producer.connect(url) as producer:
        await producer.enqueue(Summarize(text="warm up"), idempotency_key="warm")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps(await asyncio.gather(*(one(producer, texts[i % len(texts)]) for i in range(count)))))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
"""


async def stampede(url: str, *texts: str) -> list[tuple[str, str, object]]:
    """200 enqueues of one key from 8 processes, let loose together: (text, job id, created or "conflict")."""
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            STAMPEDE,
            url,
            "25",
            *texts,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(8)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert await child.stdout.readline() == b"ready\n"
        outputs = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                await child.wait()
    return [tuple(one) for printed, _ in outputs for one in json.loads(printed)]


async def test_200_enqueues_of_one_key_from_8_processes_are_one_job(
    redis_url: str, redis: Redis, worker: HandWorker
) -> None:
    """200 equal ids, one of them new; and again, none new, after the job has ended."""
    seen = await stampede(redis_url, "The text.")
    assert len(seen) == 200
    assert len({job_id for _, job_id, _ in seen}) == 1
    assert Counter(created for _, _, created in seen) == {True: 1, False: 199}
    assert int(await redis.hget(keys.COUNTS, "open")) == 2  # type: ignore[misc]

    assert await worker.work_off() == 2
    again = await stampede(redis_url, "The text.")
    assert {job_id for _, job_id, _ in again} == {seen[0][1]}
    assert not any(created for _, _, created in again)
    assert await worker.claim() == []


async def test_of_two_payloads_under_one_key_one_wins_every_time(redis_url: str, redis: Redis) -> None:
    """All of the other are refused with the winner's id."""
    seen = await stampede(redis_url, "One text.", "Another text.")
    assert len(seen) == 200
    assert len({job_id for _, job_id, _ in seen}) == 1
    (winner,) = {text for text, _, created in seen if created is True}
    assert all((created == "conflict") == (text != winner) for text, _, created in seen)
    assert int(await redis.hget(keys.COUNTS, "open")) == 2  # type: ignore[misc]


async def test_the_same_request_gives_the_same_job_open_and_ended(producer: Producer, worker: HandWorker) -> None:
    """Queued, running, succeeded: one id, and the stored result."""
    job = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
    assert job.created

    async def again() -> None:
        same = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
        assert (same.id, same.created) == (job.id, False)

    await again()
    lease = await worker.claim_one()
    await again()
    await worker.succeed(lease, {"summary": "Once."})
    await again()
    result = await producer.run(Summarize(text="A"), idempotency_key="k", timeout_s=0)
    assert result.output.summary == "Once."


@pytest.mark.parametrize("end", ["dead", "cancelled", "degraded"])
async def test_the_key_of_a_job_without_an_answer_is_known_too(
    producer: Producer, worker: HandWorker, end: str
) -> None:
    """Whatever it came to, it came to that once."""
    job = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
    if end == "cancelled":
        await job.cancel()
    elif end == "dead":
        await worker.bury(await worker.claim_one())
    else:
        await worker.degrade(await worker.claim_one())
    same = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
    assert (same.id, same.created) == (job.id, False)
    assert (await same.status()).state == end


async def test_another_spelling_of_the_same_request_is_the_same(producer: Producer) -> None:
    """The order of keys, a default written out, 1 and 1.0: equal canonical JSON."""
    job = await producer.enqueue(
        Translate(text="A", about={"a": 1, "b": [1.0]}),
        idempotency_key="k",
        lane="standard",
        metadata={"x": "1", "y": "2"},
    )
    same = await producer.enqueue(
        Translate(about={"b": [1], "a": 1}, language="German", text="A"),
        idempotency_key="k",
        metadata={"y": "2", "x": "1"},
        delay_s=0,
        max_attempts=5,
    )
    assert same.id == job.id

    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}}
    turned = {"properties": {"b": {"type": "number"}, "a": {"type": "string"}}, "type": "object"}
    job = await producer.enqueue(Extract(text="A", schema=schema), idempotency_key="schema")
    assert (await producer.enqueue(Extract(text="A", schema=turned), idempotency_key="schema")).id == job.id


async def test_a_key_is_its_tenants_own(producer: Producer, other: Producer) -> None:
    """The same key and even another request: an independent job, and no hint of the first."""
    job = await producer.enqueue(Summarize(text="A"), idempotency_key="k")
    independent = await other.enqueue(Summarize(text="B"), idempotency_key="k")
    assert independent.created
    assert independent.id != job.id


async def test_no_key_means_no_deduplication(producer: Producer) -> None:
    """Two enqueues, two jobs."""
    jobs = [await producer.enqueue(Summarize(text="A")) for _ in range(2)]
    assert len({job.id for job in jobs}) == 2
    assert all(job.created for job in jobs)


async def test_the_key_itself_is_in_no_key_name_and_no_value(producer: Producer, redis: Redis) -> None:
    """A key may be a customer's number: Redis holds its digest."""
    await producer.enqueue(Summarize(text="A"), idempotency_key="customer-4711")
    assert not any(b"4711" in name or b"4711" in value for name, value in (await dump(redis)).items())


async def test_while_the_job_is_open_the_key_has_no_end(producer: Producer, redis: Redis, worker: HandWorker) -> None:
    """A job that waits longer than the window keeps its key; the window begins with the end."""
    idem = keys.idempotency("acme", digest("k"))
    await producer.enqueue(Summarize(text="A"), idempotency_key="k")
    assert await redis.pttl(idem) == -1
    lease = await worker.claim_one()
    assert await redis.pttl(idem) == -1
    await worker.succeed(lease)
    assert 86_300_000 < await redis.pttl(idem) <= 86_400_000


async def test_the_window_does_not_depend_on_how_long_results_are_kept(
    redis_url: str, redis: Redis, worker: HandWorker
) -> None:
    """Longer than the result: the key still gives the first id. Shorter: the result is still there for its id."""
    async with Producer.connect(redis_url, retention=Retention(result_s=0.001, idempotency_s=3_600)) as producer:
        job = await producer.enqueue(Summarize(text="A"), idempotency_key="long")
        await worker.succeed(await worker.claim_one())
        await until(lambda: _gone(redis, keys.record(job.id)), what="the record is past its retention")
        same = await producer.enqueue(Summarize(text="A"), idempotency_key="long")
        assert (same.id, same.created) == (job.id, False)
        with pytest.raises(IdempotencyConflictError):
            await producer.enqueue(Summarize(text="B"), idempotency_key="long")

    async with Producer.connect(redis_url, retention=Retention(result_s=3_600, idempotency_s=0.001)) as producer:
        job = await producer.enqueue(Summarize(text="A"), idempotency_key="short")
        await worker.succeed(await worker.claim_one())
        await until(lambda: _gone(redis, keys.idempotency("default", digest("short"))), what="the window is over")
        assert (await producer.enqueue(Summarize(text="A"), idempotency_key="short")).created
        assert (await job.result(timeout_s=0)).output.summary


async def _gone(redis: Redis, name: str) -> bool:
    return not await redis.exists(name)
