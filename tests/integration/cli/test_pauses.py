"""`penstock pause` and `resume`: what is paused waits, uncharged, and goes on where it was."""

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Classify, Producer, Summarize
from penstock_schemas import keys
from tests.integration.cli.conftest import Command
from tests.support.jobs import HandWorker
from tests.support.wait import until


async def audited(redis: Redis) -> list[dict[str, str]]:
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in await redis.xrange(keys.AUDIT)
    ]


async def test_what_is_paused_is_listed_and_who_did_it_is_noted(command: Command, redis: Redis) -> None:
    """A repeat changes nothing and is not noted."""
    assert command("pause").err == "nothing is paused\n"
    assert command("pause", "lane:bulk", "tenant:acme").out.split() == ["lane:bulk", "tenant:acme"]
    assert command("pause", "lane:bulk").out == "lane:bulk\twas paused already\n"
    assert command("pause").out.split() == ["lane:bulk", "tenant:acme"], "a list, and nothing else"
    assert command("resume", "lane:bulk", "--json").objects == [
        {"name": "lane:bulk", "state": "resumed", "changed": True}
    ]
    assert command("pause", "--json").objects == [{"name": "tenant:acme", "state": "paused"}]
    notes = await audited(redis)
    assert [(note["what"], note["count"], note["names"]) for note in notes] == [
        ("pause", "2", "lane:bulk tenant:acme"),
        ("resume", "1", "lane:bulk"),
    ]
    assert all("@" in note["who"] for note in notes)


@pytest.mark.parametrize("name", ["bulk", "lane:fast", "tenant:", "tenant:a b", "task:Summarize", "lane:bulk\n"])
async def test_a_name_that_cannot_be_is_wrong_usage(command: Command, redis: Redis, name: str) -> None:
    """A misspelt lane would be paused in vain; nothing is written, of the others neither."""
    ended = command("pause", "tenant:acme", name)
    assert (ended.code, "none of lane:" in ended.err) == (2, True)
    assert await redis.dbsize() == 0


@pytest.mark.parametrize("name", ["lane:bulk", "tenant:default", "task:summarize"])
async def test_a_paused_job_waits_uncharged_while_others_go_on(
    command: Command, producer: Producer, other: Producer, worker: HandWorker, name: str
) -> None:
    """It is there, queued, with no attempt; and starts as its first when it is resumed."""
    paused = await producer.enqueue(Summarize(text="It waits."), lane="bulk")
    assert command("pause", name).code == 0
    free = await other.enqueue(Classify(text="It does not.", labels=["a", "b"]))
    late = await producer.enqueue(Summarize(text="It comes while it is paused."), lane="bulk")
    lease = await until(lambda: _claimed(worker))
    assert lease.job_id == free.id
    await worker.succeed(lease)
    assert await worker.claim(10) == []
    statuses = [await job.status() for job in (paused, late)]
    assert [(status.state, status.attempts) for status in statuses] == [("queued", 0)] * 2
    assert command("resume", name).code == 0
    done = [await until(lambda: _claimed(worker)) for _ in range(2)]
    for lease in done:
        await worker.succeed(lease)
    assert {lease.job_id for lease in done} == {paused.id, late.id}
    assert [(await job.status()).attempts for job in (paused, late)] == [1, 1]


async def _claimed(worker: HandWorker) -> Any:
    leases = await worker.claim(1)
    return leases[0] if leases else None


async def test_a_paused_job_may_be_cancelled_and_a_retry_waits_too(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    """A pause is no trap: cancel works; and a job that is given back meanwhile is not started again."""
    first, second = [await producer.enqueue(Summarize(text=text)) for text in ("One.", "Two.")]
    lease = await worker.claim_one()
    held, waiting = (first, second) if lease.job_id == first.id else (second, first)
    command("pause", "tenant:default")
    assert await waiting.cancel() == "queued"
    await worker.store.reschedule(lease, delay_s=0, charged=False, attempt=None, reason="drain")
    assert await worker.claim(10) == []
    status = await held.status()
    assert (status.state, status.attempts) == ("queued", 0)


async def test_many_jobs_of_a_paused_task_do_not_stop_others_of_their_tenant(
    command: Command, producer: Producer, worker: HandWorker
) -> None:
    """They stand before the other in the same queue, and are passed by."""
    await producer.enqueue_many([Summarize(text=f"Text {n}.") for n in range(300)])
    command("pause", "task:summarize")
    other = await producer.enqueue(Classify(text="Behind them all.", labels=["a", "b"]))
    lease = await until(lambda: _claimed(worker))
    assert lease.job_id == other.id


async def test_a_pause_works_on_a_full_server(command: Command, redis: Redis, tmp_path: Path) -> None:
    """It is what one wants there."""
    await redis.config_set("maxmemory", "1mb")
    try:
        assert command("pause", "lane:bulk").code == 0
    finally:
        await redis.config_set("maxmemory", "0")
    assert await redis.smembers(keys.PAUSED) == {b"lane:bulk"}  # type: ignore[misc]
