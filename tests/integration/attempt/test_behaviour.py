"""What a worker does about what a provider does: waits, remedies, next targets, limits of money, calls and time."""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from redis.asyncio import Redis

from penstock import Classify, Extract, JobCancelledError, JobDeadError, JobExpiredError, Producer, Summarize
from penstock.dead_letters import DeadLetters
from penstock_schemas import keys
from penstock_schemas.results import Quality
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.wait import until
from tests.support.workers import work_off, working

TEXT = "The mill stands by the river. Its wheel turns day and night. The miller sleeps well, for the sluice holds. " * 3
ASKED = Summarize(text=TEXT, max_words=20)
OTHER = "openai/gpt-4o"
Make = Callable[..., Settings]


def models(simulator: Simulator) -> list[str]:
    return [call.model for call in simulator.calls()]


async def told(redis: Redis, job_id: str, field: str) -> list[str]:
    """A field of the ledger's entries of a job."""
    rows = [row for _, row in await redis.xrange(keys.LEDGER) if row[b"job"].decode() == job_id]
    return [row[field.encode()].decode() for row in rows]


# Waiting


async def test_a_throttle_is_waited_for_and_not_charged(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Three times 429 with a wait, of one attempt that may not fail once; none of the waits is cut short."""
    simulator.script(["429 retry-after-ms=300 times=3"])
    job = await producer.enqueue(ASKED, max_attempts=1)
    async with working(settings()):
        result = await job.result(timeout_s=20)
    assert (result.state, result.attempts, result.calls) == ("succeeded", 1, 4)
    began = [call.started_at_ms for call in simulator.calls()]
    assert min(b - a for a, b in pairwise(began)) >= 299
    assert result.uncertain_nanousd == 0


async def test_a_throttled_job_holds_no_slot(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """With one slot, a job for another target runs while the first waits."""
    simulator.script([{"match": {"contains": "first"}, "fault": "429 retry-after=30"}])
    first = await producer.enqueue(Summarize(text="first " + TEXT))
    async with working(settings(concurrency=1, routes={"classify": {"targets": [OTHER]}})):
        await until(lambda: simulator.stats().requests == 1)
        second = await producer.enqueue(Classify(text=TEXT, labels=["mills and rivers", "bug"]))
        assert (await second.result(timeout_s=30)).state == "succeeded"
        assert (await first.status()).state == "scheduled"
        await first.cancel()


async def test_a_failure_is_tried_again_and_charged(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """The second attempt gives the answer; the first cost nothing."""
    simulator.script(["500 times=1"])
    job = await producer.enqueue(ASKED)
    async with working(settings()):
        result = await job.result(timeout_s=20)
    assert (result.state, result.attempts, result.calls) == ("succeeded", 2, 2)


# Next target


async def test_the_next_target_is_asked_in_the_same_attempt(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """The first is down; the result says who made it."""
    simulator.script([{"match": {"model": "gpt-4o-mini"}, "fault": "503"}])
    job = await producer.enqueue(ASKED)
    await work_off(settings(targets=["openai/gpt-4o-mini", OTHER]))
    result = await job.result(timeout_s=0)
    assert (result.attempts, result.calls, result.made_by.name) == (1, 2, OTHER)
    assert models(simulator) == ["gpt-4o-mini", "gpt-4o"]


@pytest.mark.parametrize("fault", ["refusal", "content-filter"])
async def test_a_refusal_is_not_carried_to_the_next_target(
    producer: Producer, simulator: Simulator, settings: Make, fault: str
) -> None:
    """Nor asked again: it is a distinct end, not an error of the output."""
    simulator.script([fault])
    job = await producer.enqueue(ASKED, on_failure="dead_letter")
    await work_off(settings(targets=["openai/gpt-4o-mini", OTHER]))
    with pytest.raises(JobDeadError) as dead:
        await job.result(timeout_s=0)
    assert dead.value.reason in ("refused", "content_filtered")
    assert models(simulator) == ["gpt-4o-mini"]


# Remedies


async def test_a_bad_answer_is_asked_for_once_more_with_the_fault(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """In the same attempt; the better answer counts, both calls are paid for."""
    simulator.script(["wrong-label label=nonsense times=1"])
    job = await producer.enqueue(Classify(text=TEXT, labels=["billing", "bug"]))
    await work_off(settings())
    result = await job.result(timeout_s=0)
    assert (result.attempts, result.calls, result.quality) == (1, 2, Quality.OK)
    assert await told(redis, job.id, "purpose") == ["ask", "reask"]
    assert [call.billed for call in simulator.calls()] == [True, True]
    assert [call.caller_id for call in simulator.calls()] == [f"{job.id}:1.1.1", f"{job.id}:1.1.2"]


async def test_a_prompt_does_not_grow_with_its_failures(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Of a long bad answer a bounded piece is shown again, and every attempt begins with what the first began with."""
    simulator.script([{"answer": "".join(f"Sentence {n} is no JSON. " for n in range(1_000))}])
    job = await producer.enqueue(ASKED, max_attempts=4, on_failure="dead_letter", max_cost_usd="1")
    async with working(settings(route={"max_output_tokens": 9_000}, breaker={"enabled": False})):
        with pytest.raises(JobDeadError, match="attempts_exhausted"):
            await job.result(timeout_s=60)
    asks, reasks = simulator.calls()[::2], simulator.calls()[1::2]
    assert len(asks) == len(reasks) == 4
    assert len({call.input_tokens for call in asks}) == 1
    assert len({call.input_tokens for call in reasks}) == 1
    assert asks[0].input_tokens < reasks[0].input_tokens < asks[0].input_tokens + 500


async def test_a_cut_off_answer_is_asked_for_once_with_a_larger_cap(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """One token was missing, twice as many are enough; the whole answer is the same as with room from the start."""
    asked = Classify(text=TEXT, labels=["mills and rivers", "bug"])
    roomy = await producer.enqueue(asked)
    await work_off(settings())
    (whole,) = (call.output_tokens for call in simulator.calls())
    job = await producer.enqueue(asked)
    await work_off(settings(route={"max_output_tokens": whole - 1}))
    assert await told(redis, job.id, "purpose") == ["ask", "larger_cap"]
    assert [call.output_tokens for call in simulator.calls()] == [whole, whole - 1, whole]
    assert (await job.result(timeout_s=0)).output == (await roomy.result(timeout_s=0)).output


async def test_one_remedy_is_all_a_target_gets(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """Two bad answers are two calls, not more; then it is the next attempt's turn, or the end."""
    simulator.script(["wrong-schema"])
    job = await producer.enqueue(ASKED, max_attempts=1, on_failure="dead_letter")
    await work_off(settings(targets=["openai/gpt-4o-mini", OTHER]))
    assert models(simulator) == ["gpt-4o-mini"] * 2 + ["gpt-4o"] * 2
    assert (await job.status()).calls == 4


async def test_a_schema_that_is_not_supported_is_put_into_the_prompt(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """Once, and the answer is checked against it all the same."""
    simulator.script(["schema-unsupported times=1"])
    job = await producer.enqueue(Extract(text=TEXT, schema={"type": "object", "properties": {"a": {"type": "string"}}}))
    await work_off(settings())
    assert await told(redis, job.id, "purpose") == ["ask", "weaker_schema_mode"]
    assert (await job.status()).state == "succeeded"


async def test_extraction_with_evidence_from_end_to_end(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Quotes that the text does not have are asked for again; the output has the value and its quotes."""
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    made_up = {"value": {"total": 99}, "evidence": [{"path": "/total", "quote": "Total: 99 EUR"}]}
    simulator.script([{"match": {"nth": 1}, "answer": made_up}])
    job = await producer.enqueue(Extract(text="Dear miller.\nTotal:  120.50 EUR\n", schema=schema, evidence=True))
    await work_off(settings())
    result = await job.result(timeout_s=0)
    assert (result.quality, result.calls, result.output.value) == (Quality.OK, 2, {"total": 120.5})
    assert result.output.quotes("/total") == ["Total:  120.50 EUR"]


# Degraded


async def test_a_degraded_answer_says_so(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """State, quality, maker, reason; it is listed for whoever wants a real one."""
    simulator.script(["context-length"])
    job = await producer.enqueue(ASKED)
    await work_off(settings())
    result = await job.result(timeout_s=0)
    assert (result.state, result.quality, result.reasons) == ("degraded", Quality.SUSPECT, ("degraded",))
    assert (result.made_by.kind, result.made_by.model) == ("fallback", None)
    assert result.failure is not None
    assert (result.failure.code, result.failure.last_error) == ("context_too_long", "context_too_long")
    assert 0 < len(result.output.summary.split()) <= 20


@pytest.mark.parametrize("forbidden_by", ["job", "route"])
async def test_who_forbids_it_gets_a_dead_letter(
    producer: Producer, simulator: Simulator, settings: Make, forbidden_by: str
) -> None:
    """The job with on_failure, or the route with fallback = "none"."""
    simulator.script(["context-length"])
    options = {"on_failure": "dead_letter"} if forbidden_by == "job" else {}
    job = await producer.enqueue(ASKED, **options)  # type: ignore[arg-type]
    await work_off(settings(route={"fallback": "none"} if forbidden_by == "route" else {}))
    with pytest.raises(JobDeadError, match="context_too_long"):
        await job.result(timeout_s=0)


# Limits


async def test_a_job_never_makes_more_calls_than_its_envelope(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """Six calls for each attempt it may make; with four made before, the second target is not asked."""
    simulator.script(["wrong-schema"])
    job = await producer.enqueue(ASKED, max_attempts=1)
    await redis.hset(keys.record(job.id), "calls", "4")  # type: ignore[misc]
    await work_off(settings(targets=["openai/gpt-4o-mini", OTHER]))
    result = await job.result(timeout_s=0)
    assert result.failure is not None
    assert (result.failure.code, result.failure.last_error) == ("envelope_spent", "bad_output")
    assert len(simulator.calls()) == result.calls == 2


async def test_calls_that_are_turned_away_unread_do_not_spend_the_envelope(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """With one call left of six, two throttles cost nothing and count for nothing."""
    simulator.script(["429 retry-after-ms=10 times=2"])
    job = await producer.enqueue(ASKED, max_attempts=1)
    await redis.hset(keys.record(job.id), "calls", "5")  # type: ignore[misc]
    async with working(settings()):
        result = await job.result(timeout_s=60)
    assert (result.state, result.calls) == ("succeeded", 3)


async def test_calls_that_are_turned_away_have_a_bound_of_their_own(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """300 for a run, whatever it is told and whoever dies: 299 were made before."""
    simulator.script(["429 retry-after-ms=10"])
    job = await producer.enqueue(ASKED, max_attempts=1)
    await redis.hset(keys.record(job.id), mapping={"calls": "304", "excused:1": "299"})  # type: ignore[misc]
    async with working(settings()):
        result = await job.result(timeout_s=60)
    assert result.failure is not None
    assert (result.failure.code, result.failure.last_error) == ("envelope_spent", "throttled")
    assert len(simulator.calls()) == 1


async def test_a_cost_limit_is_never_passed(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """Bad answers are paid for until the next call might cost more than is left; what was billed stays below."""
    simulator.script(["wrong-schema"])
    job = await producer.enqueue(ASKED, max_cost_usd="0.001", max_attempts=20)
    async with working(settings()):
        result = await job.result(timeout_s=60)
    assert result.failure is not None
    assert (result.failure.code, result.failure.last_error) == ("over_budget", "bad_output")
    billed = sum(
        call.uncached_input_tokens * 150 + call.cached_input_tokens * 75 + call.output_tokens * 600
        for call in simulator.calls()
    )
    assert 0 < billed == result.cost_nanousd
    assert billed + result.uncertain_nanousd <= 1_000_000


async def test_a_limit_of_tokens_is_never_passed(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """What all calls of the job took together stays below it; a call that might not is not made."""
    simulator.script(["wrong-schema"])
    job = await producer.enqueue(ASKED, max_total_tokens=3_200, max_attempts=20)
    async with working(settings()):
        result = await job.result(timeout_s=60)
    assert result.failure is not None
    assert (result.failure.code, result.failure.last_error) == ("over_budget", "bad_output")
    assert 0 < (result.usage.total_tokens or 0) <= 3_200
    took = sum(c.uncached_input_tokens + c.cached_input_tokens + c.output_tokens for c in simulator.calls())
    assert took == result.usage.total_tokens


async def test_a_limit_below_one_call_makes_none(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """Not a cent is risked."""
    job = await producer.enqueue(ASKED, max_cost_usd="0.00001", on_failure="dead_letter")
    await work_off(settings())
    with pytest.raises(JobDeadError, match="over_budget"):
        await job.result(timeout_s=0)
    assert simulator.calls() == []


async def test_a_limit_forbids_a_model_of_unknown_price(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Without a limit it may be used where the route allows that, and its cost is unknown, not 0."""
    unknown = settings(targets=["openai/nobody-knows-it"], route={"unknown_price": "allow"})
    limited = await producer.enqueue(ASKED, max_cost_usd="1", on_failure="dead_letter")
    free = await producer.enqueue(ASKED)
    await work_off(unknown)
    with pytest.raises(JobDeadError, match="unknown_price"):
        await limited.result(timeout_s=0)
    assert (await free.result(timeout_s=0)).cost_nanousd is None
    assert len(simulator.calls()) == 1


async def test_a_deadline_before_the_start_expires_the_job(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Without a call."""
    job = await producer.enqueue(ASKED, deadline_s=0.001)
    await asyncio.to_thread(lambda: None)
    await work_off(settings())
    with pytest.raises(JobExpiredError):
        await job.result(timeout_s=0)
    assert simulator.calls() == []


@pytest.mark.parametrize("on_failure", ["degrade", "dead_letter"])
async def test_a_deadline_during_a_call_ends_the_call(
    producer: Producer, simulator: Simulator, settings: Make, on_failure: str
) -> None:
    """The connection is closed, the job ends, and the call may have been billed."""
    simulator.script(["hang"])
    job = await producer.enqueue(ASKED, deadline_s=0.5, on_failure=on_failure)  # type: ignore[typeddict-item]
    await work_off(settings())
    status = await job.status()
    assert status.state == ("degraded" if on_failure == "degrade" else "dead")
    failure = status.failure or (status.result and status.result.failure)
    assert failure is not None
    assert failure.code == "deadline_exceeded"
    await simulator.until(lambda stats: stats.disconnects == 1)
    assert (await producer.link.execute("HGET", keys.record(job.id), "uncertain_nanousd")) != b"0"


async def test_a_retry_that_would_come_too_late_is_not_waited_for(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """The provider asks for a minute, the deadline is in ten seconds: the job ends now."""
    simulator.script(["429 retry-after=60"])
    job = await producer.enqueue(ASKED, deadline_s=10, on_failure="dead_letter")
    await work_off(settings())
    with pytest.raises(JobDeadError, match="deadline_exceeded"):
        await job.result(timeout_s=0)


# Cancel


async def test_a_cancel_closes_the_providers_connection(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """At once; the job is cancelled, and what the call may have cost is on the books."""
    simulator.script(["hang"])
    job = await producer.enqueue(ASKED)
    async with working(settings()):
        await simulator.until(lambda stats: stats.in_flight == 1)
        assert await job.cancel() == "running"
        await simulator.until(lambda stats: stats.disconnects == 1)
        with pytest.raises(JobCancelledError):
            await job.result(timeout_s=30)
    assert await told(redis, job.id, "kind") == ["unknown"]
    assert int((await told(redis, job.id, "uncertain_nanousd"))[0]) > 0


# Streams


async def test_the_deltas_of_a_stream_are_the_answer(producer: Producer, simulator: Simulator, settings: Make) -> None:
    """Joined, of the call that made the result; they come before the end."""
    simulator.script(["slow-events every=20ms"])
    job = await producer.enqueue(ASKED, stream=True)
    async with working(settings()):
        events = [event async for event in job.events()]
    deltas = [event for event in events if event.type == "delta"]
    result = await job.result(timeout_s=0)
    assert len(deltas) > 1
    assert events[-1].type == "succeeded"
    text = "".join(event.data["text"] for event in deltas)
    assert Summarize(text="x").read_output(json.loads(text)) == result.output
    assert {event.data["call"] for event in deltas} == {"1.1.1"}


async def test_the_pieces_of_a_broken_stream_are_told_apart(
    producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """Each delta names its call, so that no reader splices two answers."""
    simulator.script([{"fault": "cut-middle at=0.9", "times": 1}])
    job = await producer.enqueue(ASKED, stream=True)
    async with working(settings()):
        events = [event async for event in job.events()]
    last = [event.data["text"] for event in events if event.type == "delta" and event.data["call"] == "1.2.1"]
    result = await job.result(timeout_s=0)
    assert json.loads("".join(last)) == {"summary": result.output.summary}


# Replay


async def test_a_replay_with_a_target_uses_that_one(
    producer: Producer, redis: Redis, simulator: Simulator, settings: Make
) -> None:
    """The route's first is down, the replay names another: a new run of the same job, the old one's calls apart."""
    simulator.script([{"match": {"model": "gpt-4o-mini"}, "fault": "context-length"}])
    job = await producer.enqueue(ASKED, on_failure="dead_letter")
    routes = {"classify": {"targets": [OTHER]}}
    await work_off(settings(routes=routes))
    assert (await job.status()).state == "dead"
    assert [one.run async for one in DeadLetters(producer).replay([job.id], target=OTHER)] == [2]
    await work_off(settings(routes=routes))
    result = await job.result(timeout_s=0)
    assert (result.run, result.made_by.name, result.calls, result.attempts) == (2, OTHER, 1, 1)
    assert models(simulator) == ["gpt-4o-mini", "gpt-4o"]
