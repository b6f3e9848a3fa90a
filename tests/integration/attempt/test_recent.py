"""What a worker wrote last, and Redis has lost, is written once more; what is there stays as it is."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as sync
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_worker.attempt.recent import Recent
from penstock_worker.engine.lease import Lease
from tests.integration.attempt.test_scripts import INTENT, KNOWN, finish, journal, ledger, record, settle
from tests.support.jobs import HandWorker, dump, hand_worker
from tests.support.rewind import rewind, snapshot

ASKED = Summarize(text="The mill stands by the river.")


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[HandWorker]:
    """A worker moved by hand."""
    async with hand_worker(redis_url) as worker:
        yield worker


@pytest.fixture
def client(redis_url: str) -> Iterator[sync.Redis]:
    """For snapshots."""
    with sync.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def lease(producer: Producer, worker: HandWorker) -> Lease:
    """The lease on the one job there is, whose one call has been intended."""
    await producer.enqueue(ASKED)
    lease = await worker.claim_one()
    await worker.store.intend(lease, "1.1.1", INTENT, 6)
    return lease


async def test_an_end_that_was_lost_is_written_again(
    worker: HandWorker, redis: Redis, client: sync.Redis, lease: Lease
) -> None:
    """Answer, cost and result, as they were; the loss is told as a number."""
    before = snapshot(client)
    await settle(worker, lease, "answered", KNOWN)
    assert await finish(worker, lease)
    rewind(client, before)
    assert (await record(redis, lease))["state"] == "running"

    assert await worker.recent.rewrite(lost=False) == 1
    row = await record(redis, lease)
    assert (row["state"], row["result"], row["cost_nanousd"]) == ("succeeded", "{}", "70")
    assert [entry["cost_nanousd"] for entry in await ledger(redis)] == ["70"]
    assert await worker.recent.rewrite(lost=False) == 0


async def test_what_is_there_is_not_written_again(
    worker: HandWorker, redis: Redis, client: sync.Redis, lease: Lease
) -> None:
    """A fail-over that lost nothing changes nothing."""
    await settle(worker, lease, "answered", KNOWN)
    assert await finish(worker, lease)
    before = await dump(redis)
    assert await worker.recent.rewrite(lost=False) == 0
    assert await dump(redis) == before


async def test_a_job_that_someone_else_has_by_now_is_left_to_them(
    worker: HandWorker, redis: Redis, client: sync.Redis, lease: Lease
) -> None:
    """The token decides, as always: the answer is in the books and in the journal, the end is theirs."""
    before = snapshot(client)
    await settle(worker, lease, "answered", KNOWN)
    assert await finish(worker, lease)
    rewind(client, before)
    await redis.set(keys.arq_in_progress(lease.job_id), "someone else's")
    assert await worker.recent.rewrite(lost=False) == 1
    assert (await record(redis, lease))["state"] == "running"
    assert (await journal(redis, lease))["1.1.1:end"].startswith(b"answered ")


async def test_costs_outlive_a_redis_that_came_back_empty(
    worker: HandWorker, redis: Redis, client: sync.Redis, lease: Lease
) -> None:
    """As orphans: there is no job any more that they could belong to, and none is made up."""
    await settle(worker, lease, "answered", KNOWN)
    assert await finish(worker, lease)
    client.flushdb()
    assert await worker.recent.rewrite(lost=True) == 1
    assert [(row["cost_nanousd"], row["orphan"]) for row in await ledger(redis)] == [("70", "1")]
    assert not await redis.exists(keys.record(lease.job_id), keys.request(lease.job_id))


async def test_a_job_that_was_purged_meanwhile_stays_purged(
    worker: HandWorker, redis: Redis, client: sync.Redis, lease: Lease
) -> None:
    """Without proof of a loss, what is gone was taken away on purpose."""
    await settle(worker, lease, "answered", KNOWN)
    assert await finish(worker, lease)
    await redis.delete(keys.record(lease.job_id), keys.journal(lease.job_id))
    assert await worker.recent.rewrite(lost=False) == 0
    assert len(await ledger(redis)) == 1


@pytest.mark.parametrize("bound", [{"keep_s": 0.0}, {"most_bytes": 0}])
async def test_only_the_last_is_kept(
    worker: HandWorker, redis: Redis, client: sync.Redis, lease: Lease, bound: dict[str, Any]
) -> None:
    """By time, and by size."""
    worker.store._recent = small = Recent(worker.batcher, **bound)
    before = snapshot(client)
    assert await finish(worker, lease)
    rewind(client, before)
    assert await small.rewrite(lost=False) == 0
    assert (await record(redis, lease))["state"] == "running"
