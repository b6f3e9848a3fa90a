"""Dead letters through the library."""

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from penstock import (
    CorruptRecordError,
    DeadLetters,
    InvalidRequestError,
    JobNotFoundError,
    LetterFilter,
    Producer,
    ReplayRefusedError,
    Summarize,
)
from penstock.dead_letters import _REPLAY
from penstock.letter_pages import pages
from penstock_schemas import keys
from penstock_schemas.jobs import JobState
from penstock_schemas.results import moment
from tests.integration.cli.conftest import called, dead_letters
from tests.support.jobs import HandWorker, dump


async def ids_of(letters: DeadLetters, where: LetterFilter | None = None) -> list[str]:
    return [letter.job_id async for letter in letters.letters(where)]


async def test_letters_are_listed_newest_first_and_by_filter(producer: Producer, worker: HandWorker) -> None:
    """By task, by code of the failure or of the error behind it."""
    first = await dead_letters(producer, worker, 3, "attempts_exhausted")
    second = await dead_letters(producer, worker, 2, "refused")
    letters = DeadLetters(producer)
    found = [letter async for letter in letters.letters()]
    order = sorted(((letter.ended_at, letter.job_id) for letter in found), reverse=True)
    assert [(letter.ended_at, letter.job_id) for letter in found] == order
    assert {letter.job_id for letter in found} == {*first, *second}
    assert set(await ids_of(letters, LetterFilter(code="refused"))) == set(second)
    assert len(await ids_of(letters, LetterFilter(code="throttled"))) == 5
    assert await ids_of(letters, LetterFilter(task="classify")) == []


async def test_times_bound_the_list(producer: Producer, worker: HandWorker, redis: Redis) -> None:
    """Both ends are included."""
    ids = await dead_letters(producer, worker, 3)
    for at, job_id in zip((1_000, 2_000, 3_000), ids, strict=True):
        await redis.zadd(keys.state_index("dead"), {job_id: at})
    letters = DeadLetters(producer)
    assert await ids_of(letters, LetterFilter(since=moment(2_000))) == [ids[2], ids[1]]
    assert await ids_of(letters, LetterFilter(until=moment(2_000))) == [ids[1], ids[0]]
    assert await ids_of(letters, LetterFilter(since=moment(1_001), until=moment(1_999))) == []


@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_give_each_id_once_though_many_ended_in_one_ms(
    producer: Producer, redis: Redis, newest_first: bool
) -> None:
    """More than three pages at one score, and what is read is taken out meanwhile."""
    scores = {f"{n:05}": 7.0 if n < 40 else float(n) for n in range(60)}
    for taken_out in (False, True):
        await redis.zadd("z", scores)
        seen: list[str] = []
        async for some in pages(producer.link, "z", LetterFilter(), newest_first=newest_first, size=10):
            seen += some
            if taken_out:
                await redis.zrem("z", *some)
        assert sorted(seen) == sorted(scores)
        assert [scores[name] for name in seen] == sorted(scores.values(), reverse=newest_first)


async def test_an_entry_past_its_retention_is_skipped_and_taken_out(
    producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    kept, gone = await dead_letters(producer, worker, 2)
    await redis.delete(keys.record(gone))
    letters = DeadLetters(producer)
    assert [letter.job_id async for letter in letters.letters(tidy=False)] == [kept]
    assert await letters.count() == 2
    assert await ids_of(letters) == [kept]
    assert await letters.count() == 1


async def test_letters_are_of_the_tenant_unless_all_are_asked_for(
    producer: Producer, other: Producer, worker: HandWorker
) -> None:
    (mine,) = await dead_letters(producer, worker, 1)
    (theirs,) = await dead_letters(other, worker, 1)
    assert await ids_of(DeadLetters(producer)) == [mine]
    assert set(await ids_of(DeadLetters(producer, all_tenants=True))) == {mine, theirs}
    outcomes = [outcome async for outcome in DeadLetters(producer).replay([theirs])]
    assert isinstance(outcomes[0].refused, JobNotFoundError)
    with pytest.raises(JobNotFoundError):
        await DeadLetters(producer).show(theirs)
    assert await DeadLetters(producer).resolve(mine[:8]) == mine
    with pytest.raises(JobNotFoundError):
        await DeadLetters(producer).resolve(theirs[:8])


async def test_show_tells_every_call_of_every_run(producer: Producer, worker: HandWorker) -> None:
    job = await producer.enqueue(Summarize(text="Words."), metadata={"from": "test"})
    lease = await worker.claim_one()
    await called(worker, lease, "1.1.1", cost=0)
    await called(worker, lease, "1.1.2", target="anthropic/haiku", kind="answered", cost=70, uncertain=0)
    await worker.bury(lease)
    letters = DeadLetters(producer)
    assert [outcome.run async for outcome in letters.replay([job.id])] == [2]
    lease = await worker.claim_one()
    await called(worker, lease, "2.1.1", kind="unknown", cost=None, uncertain=9)
    await worker.bury(lease, "poison")

    report = await letters.show(job.id)
    assert report.request is not None
    assert report.request.metadata == {"from": "test"}
    first, second = report.runs
    assert (first.run, first.state, first.cost_nanousd, first.uncertain_nanousd) == (1, "dead", 70, 0)
    assert first.failure is not None
    assert first.failure.code == "attempts_exhausted"
    failed, answered = first.attempts[0].calls
    assert (failed.target, failed.error, failed.status, failed.took_ms) == (
        "openai/gpt-4o-mini",
        "throttled",
        429,
        1234,
    )
    assert (answered.target, answered.error, answered.cost_nanousd) == ("anthropic/haiku", None, 70)
    assert (second.run, second.state, second.cost_nanousd, second.uncertain_nanousd) == (2, "dead", None, 9)
    assert second.failure is not None
    assert second.failure.code == "poison"


async def test_a_replay_is_a_new_run_of_the_same_job_with_its_history(
    producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """It is queued, watched by the same id, and no longer in the list; the audit stream says who did it."""
    (job_id,) = await dead_letters(producer, worker, 1)
    letters = DeadLetters(producer, who="someone@somewhere")
    (outcome,) = [outcome async for outcome in letters.replay([job_id], target="openai/gpt-4o")]
    assert (outcome.run, outcome.refused) == (2, None)
    status = await producer.status(job_id)
    assert (status.state, status.run, status.attempts, status.failure) == (JobState.QUEUED, 2, 0, None)
    assert await ids_of(letters) == []
    assert await redis.hget(keys.record(job_id), "target") == b"openai/gpt-4o"  # type: ignore[misc]
    assert await redis.ttl(keys.record(job_id)) == -1
    await worker.succeed(await worker.claim_one())
    assert (await producer.job(job_id).result(timeout_s=30)).run == 2
    ((_, entry),) = await redis.xrange(keys.AUDIT)
    assert (entry[b"what"], entry[b"who"], entry[b"count"]) == (b"replay", b"someone@somewhere", b"1")
    assert (entry[b"jobs"], entry[b"target"]) == (job_id.encode(), b"openai/gpt-4o")


async def test_a_degraded_answer_can_be_replayed_and_is_kept(producer: Producer, worker: HandWorker) -> None:
    job = await producer.enqueue(Summarize(text="Words."))
    await worker.degrade(await worker.claim_one())
    letters = DeadLetters(producer, state="degraded")
    (letter,) = [letter async for letter in letters.letters()]
    assert (letter.job_id, letter.failure.code) == (job.id, "attempts_exhausted")
    refused = [outcome async for outcome in DeadLetters(producer).replay([job.id])]
    assert isinstance(refused[0].refused, ReplayRefusedError)
    assert [outcome.run async for outcome in letters.replay([job.id])] == [2]
    await worker.succeed(await worker.claim_one())
    first, second = (await letters.show(job.id)).runs
    assert (first.state, second.state) == ("degraded", "succeeded")


async def test_what_is_no_letter_is_refused_with_its_state(producer: Producer, worker: HandWorker) -> None:
    """Queued, running, succeeded, replayed already, unknown."""
    jobs = await producer.enqueue_many([Summarize(text=f"{n}.") for n in range(2)])
    lease = await worker.claim_one()
    running, queued = lease.job_id, next(job.id for job in jobs if job.id != lease.job_id)
    letters = DeadLetters(producer)

    async def refusal(job_id: str) -> str:
        (outcome,) = [outcome async for outcome in letters.replay([job_id])]
        assert outcome.run is None
        return str(outcome.refused)

    assert "is queued in run 1" in await refusal(queued)
    assert "is running in run 1" in await refusal(running)
    await worker.succeed(lease)
    assert "is succeeded in run 1" in await refusal(running)
    await worker.bury(await worker.claim_one())
    assert [outcome.run async for outcome in letters.replay([queued])] == [2]
    assert "is queued in run 2" in await refusal(queued)
    assert "not found" in await refusal("0" * 32)


async def test_the_same_call_again_answers_the_same(producer: Producer, worker: HandWorker, redis: Redis) -> None:
    """A reply that was lost on its way is asked for once more, by the same action."""
    (job_id,) = await dead_letters(producer, worker, 1)
    args = ["default", "", "who", "action", 1, job_id, 1]
    assert await producer.link.call(_REPLAY, [keys.record(job_id)], args) == [[1, 2]]
    before = await dump(redis)
    assert await producer.link.call(_REPLAY, [keys.record(job_id)], args) == [[1, 2]]
    assert await dump(redis) == before
    args[3] = "another"
    assert await producer.link.call(_REPLAY, [keys.record(job_id)], args) == [[0, b"queued", 2]]


async def test_a_letter_that_died_again_meanwhile_is_not_taken_twice(
    producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """A filter takes what ended before it began."""
    ids = await dead_letters(producer, worker, 120)
    letters = DeadLetters(producer)
    replayed: list[str] = []
    async for outcome in letters.replay(LetterFilter()):
        replayed.append(outcome.job_id)
        if outcome.job_id == ids[0]:
            now = (await redis.time())[0] * 1000
            await redis.zadd(keys.state_index("dead"), {outcome.job_id: now + 60_000})
            await redis.hset(keys.record(outcome.job_id), "state", "dead")  # type: ignore[misc]
    assert sorted(replayed) == sorted(ids)


async def test_two_at_once_run_each_letter_again_once(producer: Producer, other: Producer, worker: HandWorker) -> None:
    ids = await dead_letters(producer, worker, 130)

    async def all_of(who: str) -> list[str]:
        letters = DeadLetters(producer, who=who)
        return [outcome.job_id async for outcome in letters.replay(LetterFilter()) if outcome.run]

    first, second = await asyncio.gather(all_of("first"), all_of("second"))
    assert sorted(first + second) == sorted(ids)
    assert {(await producer.status(job_id)).run for job_id in ids} == {2}
    assert len(await worker.claim(200)) == 130


async def test_a_plan_bounds_the_cost_and_writes_nothing(producer: Producer, worker: HandWorker, redis: Redis) -> None:
    """Own limit; else the last run's cost, or the most of one call; unknown when no call was made."""

    async def dead(cost: int | None, held: int | None, limit: str | None = None, uncertain: int = 0) -> str:
        job = await producer.enqueue(Summarize(text="Words."), max_cost_usd=limit)
        lease = await worker.claim_one()
        if held is not None:
            await called(worker, lease, cost=cost, held=held, uncertain=uncertain)
        await worker.bury(lease)
        return job.id

    cheap, dear = await dead(10, 500), await dead(900, 500, uncertain=50)
    limited, uncalled = await dead(None, 100, "0.000002"), await dead(None, None)
    letters = DeadLetters(producer)
    before = await dump(redis)
    plan = await letters.plan([cheap, dear, "0" * 32])
    assert (plan.count, len(plan.refused)) == (2, 1)
    assert (plan.cost_before_nanousd, plan.uncertain_before_nanousd, plan.cost_bound_nanousd) == (910, 50, 500 + 950)
    assert (await letters.plan([cheap, limited])).cost_bound_nanousd == 500 + 2_000
    assert (await letters.plan([limited])).cost_before_nanousd is None
    assert (await letters.plan([cheap, uncalled])).cost_bound_nanousd is None
    assert (await letters.plan([cheap], target="openai/gpt-4o")).cost_bound_nanousd is None
    assert (await letters.plan(LetterFilter())).count == 4
    assert await dump(redis) == before


async def test_a_purge_forgets_all_but_the_cost(producer: Producer, worker: HandWorker, redis: Redis) -> None:
    """The same key is free for a new job."""
    job = await producer.enqueue(Summarize(text="Words."), idempotency_key="k")
    lease = await worker.claim_one()
    await called(worker, lease, cost=70)
    await worker.bury(lease)
    letters = DeadLetters(producer, who="me")
    assert [outcome.refused async for outcome in letters.purge([job.id])] == [None]
    left = {name.decode() async for name in redis.scan_iter()}
    assert not {name for name in left if job.id in name}
    assert await redis.xlen(keys.LEDGER) == 1
    ((_, entry),) = await redis.xrange(keys.AUDIT)
    assert (entry[b"what"], entry[b"jobs"]) == (b"purge", job.id.encode())
    again = await producer.enqueue(Summarize(text="Words."), idempotency_key="k")
    assert again.created


async def test_a_key_that_names_another_job_by_now_is_left_alone(
    producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """Its window had passed, and another job took it."""
    first = await producer.enqueue(Summarize(text="One."), idempotency_key="k")
    await worker.bury(await worker.claim_one())
    (key,) = [name async for name in redis.scan_iter("penstock:idem:*")]
    await redis.delete(key)
    second = await producer.enqueue(Summarize(text="Two."), idempotency_key="k")
    letters = DeadLetters(producer)
    assert [outcome.run async for outcome in letters.replay([first.id])] == [2]
    await worker.work_off()
    assert (await redis.get(key)).startswith(second.id.encode())
    assert await redis.pttl(key) > 0


async def test_what_cannot_be_run_again_stays_and_stops_no_other(
    producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    """A letter whose request is gone, one whose journal is no journal, and one of a newer version."""
    sound, no_request, no_journal, newer = ids = await dead_letters(producer, worker, 4)
    await redis.delete(keys.request(no_request), keys.journal(no_journal))
    await redis.set(keys.journal(no_journal), "x")
    await redis.hset(keys.record(newer), "v", 999)  # type: ignore[misc]
    letters = DeadLetters(producer)
    outcomes = {outcome.job_id: outcome async for outcome in letters.replay(ids)}
    assert outcomes[sound].run == 2
    for job_id in (no_request, no_journal, newer):
        assert isinstance(outcomes[job_id].refused, CorruptRecordError)
        assert await redis.zscore(keys.state_index("dead"), job_id) is not None
        assert await redis.hget(keys.record(job_id), "state") == b"dead"  # type: ignore[misc]


async def test_a_prefix_of_several_is_refused_with_their_ids(
    producer: Producer, worker: HandWorker, redis: Redis
) -> None:
    ids = await dead_letters(producer, worker, 17)
    shared = next(a[0] for a in ids if sum(b[0] == a[0] for b in ids) > 1)
    with pytest.raises(InvalidRequestError, match="beginning of several"):
        await DeadLetters(producer).resolve(shared)


async def test_a_target_must_look_like_one(producer: Producer) -> None:
    for wrong in ("gpt-4o", "openai/", "/x", "openai/gpt 4"):
        with pytest.raises(InvalidRequestError, match="provider/model"):
            await DeadLetters(producer).plan(LetterFilter(until=moment(0) + timedelta(days=1)), target=wrong)
