"""The scripts of an attempt: seed, call once, call twice, read everything back.

A repeat, as after a lost reply, answers what the first call answered and changes nothing; whoever has lost the lease
ends nothing, and what it spent is on the books all the same.
"""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_schemas.budgets import Budget, Limit
from penstock_schemas.results import JobFailure
from penstock_worker.attempt.store import Intended
from penstock_worker.engine.lease import Lease
from penstock_worker.money.budgets import Hold
from tests.support.jobs import HandWorker, dump, hand_worker

ASKED = Summarize(text="The mill stands by the river.")
FAILURE = JobFailure(code="corrupt_record", message="Unreadable.")
INTENT = {"target": "openai/gpt-4o-mini", "prompt": "summarize@1", "purpose": "ask", "held_nanousd": 500, "at_ms": 7}
KNOWN = {"cost_nanousd": 70, "uncertain_nanousd": 0}
UNKNOWN = {"cost_nanousd": 0, "uncertain_nanousd": 500}


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[HandWorker]:
    """A worker moved by hand."""
    async with hand_worker(redis_url) as worker:
        yield worker


@pytest.fixture
async def lease(producer: Producer, worker: HandWorker) -> Lease:
    """The lease on the one job there is."""
    await producer.enqueue(ASKED)
    return await worker.claim_one()


async def record(redis: Redis, lease: Lease) -> dict[str, str]:
    row = await redis.hgetall(keys.record(lease.job_id))  # type: ignore[misc]
    return {name.decode(): value.decode() for name, value in row.items()}


async def journal(redis: Redis, lease: Lease) -> dict[str, bytes]:
    row = await redis.hgetall(keys.journal(lease.job_id))  # type: ignore[misc]
    return {name.decode(): value for name, value in row.items()}


async def ledger(redis: Redis) -> list[dict[str, str]]:
    entries = await redis.xrange(keys.LEDGER)
    return [{name.decode(): value.decode() for name, value in row.items()} for _, row in entries]


async def events(redis: Redis, lease: Lease) -> list[str]:
    return [row[b"type"].decode() for _, row in await redis.xrange(keys.events(lease.job_id))]


async def counts(redis: Redis) -> dict[str, int]:
    row = await redis.hgetall(keys.COUNTS)  # type: ignore[misc]
    numbers = {name.decode(): int(value) for name, value in row.items() if not name.startswith(b"memory")}
    return {name: number for name, number in numbers.items() if number}


async def settle(worker: HandWorker, lease: Lease, kind: str, end: dict[str, Any], call: str = "1.1.1") -> Any:
    return await worker.store.settle(lease, call, kind, end, ledger={"target": "t"}, **end)


async def finish(worker: HandWorker, lease: Lease, state: str = "succeeded") -> bool:
    field = {"succeeded": "result", "dead": "failure"}.get(state, "")
    return await worker.store.finish(lease, state, field=field, body=b"{}", attempt={"error": None}, event={"a": 1})


async def give_back(worker: HandWorker, lease: Lease, **options: Any) -> bool:
    given: dict[str, Any] = {"delay_s": 30.0, "charged": True, "attempt": {"error": "e"}, "reason": "e", **options}
    return await worker.store.reschedule(lease, **given)


async def stolen(worker: HandWorker, redis: Redis, lease: Lease) -> Lease:
    """The job in the hands of another worker, after the lease ran out."""
    await redis.pexpire(keys.arq_in_progress(lease.job_id), 60_000)  # the lease is over, its grace begins
    await redis.zadd(lease.queue, {lease.job_id: 1})
    return await worker.claim_one()


# Intend


async def test_intend_writes_the_call_down_once(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """Journal, number of calls, and a step of progress for who watches."""
    assert await worker.store.intend(lease, "1.1.1", INTENT, 6) is Intended.YES
    assert orjson.loads((await journal(redis, lease))["1.1.1"]) == INTENT
    assert (await record(redis, lease))["calls"] == "1"
    assert await events(redis, lease) == ["queued", "running", "progress"]

    before = await dump(redis)
    assert await worker.store.intend(lease, "1.1.1", INTENT, 6) is Intended.YES
    assert await dump(redis) == before


async def test_intend_keeps_within_the_envelope(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """The run may make two calls, and makes no third."""
    for number in (1, 2):
        await worker.store.intend(lease, f"1.1.{number}", INTENT, 2)
    before = await dump(redis)
    assert await worker.store.intend(lease, "1.1.3", INTENT, 2) is Intended.ENVELOPE_SPENT
    assert await dump(redis) == before


async def test_intend_is_refused_without_the_lease(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """No intent, no call."""
    await stolen(worker, redis, lease)
    before = await dump(redis)
    assert await worker.store.intend(lease, "1.1.1", INTENT, 6) is Intended.LOST
    assert await dump(redis) == before


async def test_intend_is_refused_once_a_cancel_was_asked_for(
    redis: Redis, producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """The call that would be paid for nothing is not made."""
    await producer.cancel(lease.job_id)
    before = await dump(redis)
    assert await worker.store.intend(lease, "1.1.1", INTENT, 6) is Intended.CANCELLED
    assert await dump(redis) == before


# Settle


async def test_a_text_kept_apart_is_given_back_and_expires_with_the_job(
    redis: Redis, worker: HandWorker, lease: Lease
) -> None:
    """Also when it comes after the end of the run, from a worker that had lost the lease."""
    await worker.store.intend(lease, "1.1.1", INTENT, 6)
    assert await worker.store.text_apart(lease, "1.1.1") == ""
    await finish(worker, lease)
    told = await worker.store.settle(lease, "1.1.1", "answered", KNOWN, ledger={"target": "t"}, apart="Ünï", **KNOWN)
    assert told is None
    assert await worker.store.text_apart(lease, "1.1.1") == "Ünï"
    assert b"text" not in (await journal(redis, lease))["1.1.1:end"]
    assert 0 < await redis.pttl(keys.parts(lease.job_id)) <= await redis.pttl(keys.record(lease.job_id))


async def test_the_first_plan_stays(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """Whatever a later worker would have planned; who has lost the lease plans nothing. A new run plans anew."""
    assert await worker.store.plan(lease, b'{"a":1}') == b'{"a":1}'
    assert await worker.store.plan(lease, b'{"a":2}') == b'{"a":1}'
    await stolen(worker, redis, lease)
    assert await worker.store.plan(lease, b'{"a":3}') is None


async def test_settle_books_a_call_once(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """Journal, ledger and the job's cost; a repeat tells what is there."""
    await worker.store.intend(lease, "1.1.1", INTENT, 6)
    assert await settle(worker, lease, "answered", KNOWN) is None
    assert (await record(redis, lease))["cost_nanousd"] == "70"
    (entry,) = await ledger(redis)
    assert (entry["job"], entry["call"], entry["kind"]) == (lease.job_id, "1.1.1", "answered")
    assert (entry["cost_nanousd"], entry["orphan"], entry["amends"]) == ("70", "0", "0")

    before = await dump(redis)
    told = await settle(worker, lease, "answered", KNOWN)
    assert told == b"answered " + orjson.dumps(KNOWN)
    assert await dump(redis) == before


async def test_settle_holds_what_may_have_been_billed(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """At the most it can be, apart from the cost that is known."""
    await settle(worker, lease, "unknown", UNKNOWN)
    row = await record(redis, lease)
    assert (row["uncertain_nanousd"], row.get("cost_nanousd")) == ("500", None)


async def test_an_unknown_price_is_not_zero(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """The ledger leaves it open."""
    await settle(worker, lease, "answered", {"cost_nanousd": None, "uncertain_nanousd": 0})
    (entry,) = await ledger(redis)
    assert entry["cost_nanousd"] == ""


async def test_costs_of_a_worker_that_lost_its_lease_are_kept(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """Results are fenced, costs are not: the entry says that it is an orphan."""
    await worker.store.intend(lease, "1.1.1", INTENT, 6)
    await stolen(worker, redis, lease)
    await settle(worker, lease, "answered", KNOWN)
    (entry,) = await ledger(redis)
    assert (entry["orphan"], entry["cost_nanousd"]) == ("1", "70")
    assert (await record(redis, lease))["cost_nanousd"] == "70"


async def test_what_was_unknown_may_be_told_later(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """The worker that was thought dead comes back: its cost takes the place of what was held, once."""
    await worker.store.intend(lease, "1.1.1", INTENT, 6)
    owner = await stolen(worker, redis, lease)
    await settle(worker, owner, "unknown", UNKNOWN)
    await settle(worker, lease, "answered", KNOWN)
    row = await record(redis, lease)
    assert (row["cost_nanousd"], row["uncertain_nanousd"]) == ("70", "0")
    first, second = await redis.xrange(keys.LEDGER)
    assert (first[1][b"amends"], second[1][b"amends"]) == (b"0", first[0])
    assert second[1][b"was"] == b"1 0 500 1 0 0 0 0 0 0 0 0"
    assert await redis.zcard(keys.DOUBTS) == 0

    before = await dump(redis)
    await settle(worker, lease, "answered", KNOWN)
    assert await settle(worker, owner, "unknown", UNKNOWN) == b"answered " + orjson.dumps(KNOWN)
    assert await dump(redis) == before


async def test_costs_outlive_the_record(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """The job was purged: the ledger still hears of the call, and no record comes back to life."""
    await redis.delete(keys.record(lease.job_id), keys.journal(lease.job_id))
    await settle(worker, lease, "answered", KNOWN)
    assert len(await ledger(redis)) == 1
    assert not await redis.exists(keys.record(lease.job_id), keys.journal(lease.job_id))


# Finish


@pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", "expired"])
async def test_finish_ends_a_run_once(redis: Redis, worker: HandWorker, lease: Lease, state: str) -> None:
    """State, event, counts, lease and queue in one; a repeat after a lost reply says the same."""
    assert await finish(worker, lease, state)
    row = await record(redis, lease)
    assert (row["state"], "ended_at" in row) == (state, True)
    assert (await events(redis, lease))[-1] == state
    assert await counts(redis) == {state: 1}
    assert not await redis.exists(keys.arq_in_progress(lease.job_id), lease.queue)
    assert 0 < await redis.pttl(keys.record(lease.job_id)) <= int(row["keep_dead_ms" if state == "dead" else "keep_ms"])

    before = await dump(redis)
    assert await finish(worker, lease, state)
    assert await dump(redis) == before


@pytest.mark.parametrize("verb", [finish, give_back])
async def test_a_stale_token_ends_nothing(redis: Redis, worker: HandWorker, lease: Lease, verb: Any) -> None:
    """Somebody else has the job: nothing of it is touched, and the loser is told."""
    owner = await stolen(worker, redis, lease)
    before = await dump(redis)
    assert not await verb(worker, lease)
    assert await dump(redis) == before
    assert await verb(worker, owner)


async def test_another_end_after_the_end_changes_nothing(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """A run ends once, whoever asks for what."""
    await finish(worker, lease)
    before = await dump(redis)
    assert not await finish(worker, lease, "dead")
    assert not await give_back(worker, lease)
    assert await dump(redis) == before


@pytest.mark.parametrize("state", ["dead", "cancelled", "expired"])
async def test_an_end_settles_what_a_dead_worker_left_open(
    redis: Redis, worker: HandWorker, lease: Lease, state: str
) -> None:
    """A call without an end is on the books at the most it can have cost."""
    await worker.store.intend(lease, "1.1.1", INTENT, 6)
    await worker.store.intend(lease, "1.1.2", INTENT, 6)
    await settle(worker, lease, "answered", KNOWN)
    await finish(worker, await stolen(worker, redis, lease), state)
    assert [(entry["call"], entry["kind"]) for entry in await ledger(redis)] == [
        ("1.1.1", "answered"),
        ("1.1.2", "unknown"),
    ]
    row = await record(redis, lease)
    assert (row["cost_nanousd"], row["uncertain_nanousd"]) == ("70", "500")
    assert (await journal(redis, lease))["1.1.2:end"].startswith(b"unknown ")

    await settle(worker, lease, "answered", KNOWN, "1.1.2")  # it was only slow
    row = await record(redis, lease)
    assert (row["cost_nanousd"], row["uncertain_nanousd"]) == ("140", "0")


@pytest.mark.parametrize("how", ["finish", "bury"])
async def test_an_end_leaves_nothing_held_of_a_budget(redis: Redis, worker: HandWorker, lease: Lease, how: str) -> None:
    """What was held for a call that nobody saw the end of is uncertain there, too."""
    await redis.hset(keys.BUDGETS, "tenant:acme", Budget({"day": Limit(nanousd=1_000_000)}).to_json("file"))  # type: ignore[misc]
    await worker.store.intend(lease, "1.1.1", INTENT, 6, hold=Hold(500, 40))
    owner = await stolen(worker, redis, lease)
    if how == "finish":
        await finish(worker, owner, "dead")
    else:
        await worker.store.bury_corrupt(owner, FAILURE, 60.0)
    (key,) = [name async for name in redis.scan_iter("penstock:budget:*")]
    budget = {name.decode(): int(value) for name, value in (await redis.hgetall(key)).items()}  # type: ignore[misc]
    assert (budget["held"], budget["uncertain"]) == (0, 500)
    assert (budget["tokens_held"], budget["tokens_uncertain"]) == (0, 40)


async def test_a_record_that_is_gone_leaves_no_lease(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """Purged while it ran: nothing is left to run for ever, and no record comes back to life."""
    await redis.delete(keys.record(lease.job_id))
    await finish(worker, lease)
    assert not await redis.exists(keys.record(lease.job_id), keys.arq_in_progress(lease.job_id), lease.queue)


# Reschedule


async def test_a_failed_attempt_waits_and_is_charged(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """Scheduled in its queue for then; what it came to is in the journal."""
    assert await give_back(worker, lease, delay_s=30.0)
    row = await record(redis, lease)
    assert (row["state"], row["attempt"]) == ("scheduled", "1")
    assert await redis.zscore(lease.queue, lease.job_id) == int(row["due_at"])
    assert int(row["due_at"]) - int(row["started_at"]) >= 30_000
    assert (await journal(redis, lease))["attempt:1.1"] == b'{"error":"e"}'
    assert await counts(redis) == {"scheduled": 1, "open": 1}
    assert not await redis.exists(keys.arq_in_progress(lease.job_id))

    before = await dump(redis)
    assert await give_back(worker, lease, delay_s=30.0)
    assert await dump(redis) == before


async def test_a_hand_back_is_not_charged_and_due_at_once(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """The next owner makes the same attempt; it was told nothing."""
    await give_back(worker, lease, delay_s=0, charged=False, attempt=None)
    row = await record(redis, lease)
    assert (row["state"], row["attempt"]) == ("queued", "0")
    assert "attempt:1.1" not in await journal(redis, lease)
    again = await worker.claim_one()
    assert (again.job_id, again.payload[4], again.deaths) == (lease.job_id, b"1", 0)

    before = await dump(redis)
    assert await give_back(worker, lease, delay_s=0, charged=False, attempt=None)  # a reply that was lost
    assert await dump(redis) == before


async def test_a_cancel_asked_for_meanwhile_ends_the_job(
    redis: Redis, producer: Producer, worker: HandWorker, lease: Lease
) -> None:
    """It does not wait for the backoff; a repeat answers the same."""
    await producer.cancel(lease.job_id)
    assert await give_back(worker, lease, delay_s=30.0)
    assert (await record(redis, lease))["state"] == "cancelled"
    assert await counts(redis) == {"cancelled": 1}
    assert not await redis.exists(lease.queue)

    before = await dump(redis)
    assert await give_back(worker, lease, delay_s=30.0)
    assert await dump(redis) == before


# Start


async def test_the_attempt_of_a_vanished_holder_goes_on_uncharged(
    redis: Redis, worker: HandWorker, lease: Lease
) -> None:
    """Under its old number, however long nobody was there to see it."""
    again = await stolen(worker, redis, lease)
    assert (again.payload[4], again.deaths) == (b"1", 1)
    await redis.delete(keys.arq_in_progress(lease.job_id), keys.DEATHS)  # days went by
    await redis.zadd(lease.queue, {lease.job_id: 1})
    assert (await worker.claim_one()).payload[4] == b"1"


async def test_a_started_job_does_not_expire(redis: Redis, producer: Producer, worker: HandWorker) -> None:
    """Its deadline passes while its worker is dead: the next one has to give it up with what was paid."""
    job = await producer.enqueue(ASKED, deadline_s=60)
    lease = await worker.claim_one()
    await redis.hset(keys.record(job.id), "deadline_at", "1")  # type: ignore[misc]
    assert (await stolen(worker, redis, lease)).payload[0] == b"run"


async def test_a_job_that_was_never_started_expires(redis: Redis, producer: Producer, worker: HandWorker) -> None:
    """The claim says so."""
    job = await producer.enqueue(ASKED, deadline_s=60)
    await redis.hset(keys.record(job.id), "deadline_at", "1")  # type: ignore[misc]
    assert (await worker.claim_one()).payload[0] == b"expire"


# Tell, bury


async def test_a_delta_is_told_by_the_holder_only(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """A stale worker's text would mix with its successor's."""
    await worker.store.tell(lease, 1, "delta", {"text": "a"})
    owner = await stolen(worker, redis, lease)
    await worker.store.tell(lease, 1, "delta", {"text": "b"})
    await worker.store.tell(owner, 1, "delta", {"text": "c"})
    rows = await redis.xrange(keys.events(lease.job_id))
    assert [orjson.loads(row[b"data"])["text"] for _, row in rows if row[b"type"] == b"delta"] == ["a", "c"]


async def test_a_corrupt_job_is_buried_once(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """A readable dead letter takes its place; counts, index and times to live are in order."""
    await worker.store.intend(lease, "1.1.1", INTENT, 6)
    await redis.delete(keys.request(lease.job_id))
    assert await worker.store.bury_corrupt(lease, FAILURE, 60.0)
    row = await record(redis, lease)
    assert (row["state"], orjson.loads(row["failure"])["code"]) == ("dead", "corrupt_record")
    assert await counts(redis) == {"dead": 1}
    assert await redis.zscore(keys.state_index("dead"), lease.job_id) is not None
    assert 0 < await redis.pttl(keys.record(lease.job_id)) <= 60_000
    assert [entry["uncertain_nanousd"] for entry in await ledger(redis)] == ["500"]
    assert not await redis.exists(keys.arq_in_progress(lease.job_id), lease.queue)

    before = await dump(redis)
    assert await worker.store.bury_corrupt(lease, FAILURE, 60.0)
    assert await dump(redis) == before


async def test_a_corrupt_job_of_another_worker_is_left_alone(redis: Redis, worker: HandWorker, lease: Lease) -> None:
    """It may be able to read it."""
    await stolen(worker, redis, lease)
    before = await dump(redis)
    assert not await worker.store.bury_corrupt(lease, FAILURE, 60.0)
    assert await dump(redis) == before


async def test_the_key_of_a_corrupt_job_does_not_stay_for_ever(
    redis: Redis, producer: Producer, worker: HandWorker
) -> None:
    """Its idempotency key goes with it."""
    job = await producer.enqueue(ASKED, idempotency_key="k")
    await redis.delete(keys.request(job.id))
    await worker.store.bury_corrupt(await worker.claim_one(), FAILURE, 60.0)
    (key,) = [name async for name in redis.scan_iter("penstock:idem:*")]
    assert 0 < await redis.pttl(key) <= 60_000
