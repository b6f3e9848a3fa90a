"""Tiered routing: a cheap model first, behind a gate of quality; cost falls, and final validity is equal."""

from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Extract, Producer, Quality, Summarize
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.workers import work_off, worker_settings

CHEAP, STRONG = "openai/gpt-4o-mini", "openai/gpt-4o"
TEXT = "The mill stands by the river. Its wheel turns day and night. The miller sleeps well, for the sluice holds. "
JOBS, HARD = 40, 10
FENCED = {"answer": '```json\n{"summary": "A mill works all night by its river."}\n```'}


def texts() -> list[Summarize]:
    """One in four is too hard for the cheap model."""
    return [
        Summarize(text=f"Number {number}, {'hard' if number < HARD else 'easy'}. {TEXT}", max_words=20)
        for number in range(JOBS)
    ]


def too_hard(model: str = "gpt-4o-mini") -> list[Any]:
    """Its answers to what is hard end abruptly, which is doubtful."""
    return [{"match": {"model": model, "contains": "hard"}, "answer": '{"summary": "The wheel turns and"}'}]


def good() -> list[Any]:
    """An answer without a doubt, to everything else."""
    return [{"answer": '{"summary": "A mill works all night by its river."}'}]


def settings_of(redis_url: str, simulator: Simulator, *targets: str, **route: Any) -> Settings:
    return worker_settings(redis_url, simulator.base_url, targets=targets, route=route)


async def test_cost_falls_and_final_validity_is_equal(redis_url: str, producer: Producer, simulator: Simulator) -> None:
    """Beside the same jobs on the strong model alone: all good either way, for less than half of the money."""
    simulator.script([*too_hard(), *good()])
    cost, quality = {}, {}
    ways: dict[str, Settings] = {
        "strong": settings_of(redis_url, simulator, STRONG),
        "cascade": settings_of(redis_url, simulator, CHEAP, STRONG, cascade={CHEAP: {"quality": "ok"}}),
    }
    for way, settings in ways.items():
        jobs = await producer.enqueue_many(texts())
        await work_off(settings)
        results = [await job.result(timeout_s=0) for job in jobs]
        quality[way] = [result.quality for result in results]
        cost[way] = sum(result.cost_nanousd or 0 for result in results)
        made_by = [result.made_by.name for result in results]
    assert quality["cascade"] == quality["strong"] == [Quality.OK] * JOBS
    assert made_by == [STRONG] * HARD + [CHEAP] * (JOBS - HARD)
    assert 0 < 2 * cost["cascade"] < cost["strong"]


async def test_an_answer_below_the_gate_is_named(redis_url: str, producer: Producer, simulator: Simulator) -> None:
    """The result says who was asked before, and that it was not good enough; both calls are on the bill."""
    simulator.script([*too_hard(), *good()])
    job = await producer.enqueue(texts()[0])
    await work_off(settings_of(redis_url, simulator, CHEAP, STRONG, cascade={CHEAP: {"quality": "ok"}}))
    result = await job.result(timeout_s=0)
    assert [(tried.target, tried.code) for tried in result.tried] == [(CHEAP, "below_gate")]
    assert (result.calls, result.made_by.name, result.quality) == (2, STRONG, Quality.OK)


@pytest.mark.parametrize("strong_fault", ["529", "refusal", "wrong-schema", "429 retry-after=60"])
async def test_the_answer_in_hand_counts_when_no_target_does_better(
    redis_url: str, producer: Producer, simulator: Simulator, strong_fault: str
) -> None:
    """As what it is: doubtful, of the cheap model; nothing is asked again."""
    simulator.script([*too_hard(), {"match": {"model": "gpt-4o"}, "fault": strong_fault}])
    job = await producer.enqueue(texts()[0])
    await work_off(settings_of(redis_url, simulator, CHEAP, STRONG, cascade={CHEAP: {"quality": "ok"}}))
    result = await job.result(timeout_s=0)
    assert (result.state, result.quality, result.made_by.name) == ("succeeded", Quality.SUSPECT, CHEAP)
    assert (result.reasons, result.attempts) == (("ends_abruptly",), 1)
    assert [tried.target for tried in result.tried] == [CHEAP, STRONG]


async def test_the_answer_in_hand_counts_when_no_more_calls_may_be_made(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator
) -> None:
    """What was paid for is not thrown away."""
    simulator.script([*too_hard(), *good()])
    job = await producer.enqueue(texts()[0], max_attempts=1)
    await redis.hset(keys.record(job.id), "calls", "5")  # type: ignore[misc]
    await work_off(settings_of(redis_url, simulator, CHEAP, STRONG, cascade={CHEAP: {"quality": "ok"}}))
    result = await job.result(timeout_s=0)
    assert (result.quality, result.made_by.name) == (Quality.SUSPECT, CHEAP)
    assert [(tried.target, tried.code) for tried in result.tried][1] == (STRONG, "envelope_spent")


@pytest.mark.parametrize(("gate", "made_by"), [("ok", STRONG), ("repaired", CHEAP)])
async def test_a_gate_says_whether_what_was_mended_is_good_enough(
    redis_url: str, producer: Producer, simulator: Simulator, gate: str, made_by: str
) -> None:
    """JSON within a code fence is an answer that was repaired."""
    simulator.script([{"match": {"model": "gpt-4o-mini"}, **FENCED}, *good()])
    job = await producer.enqueue(texts()[-1])
    await work_off(settings_of(redis_url, simulator, CHEAP, STRONG, cascade={CHEAP: {"quality": gate}}))
    assert (await job.result(timeout_s=0)).made_by.name == made_by


@pytest.mark.parametrize(("answer", "made_by"), [({"total": "12.50"}, CHEAP), ({"total": "999"}, STRONG)])
async def test_a_task_measures_how_sure_an_answer_is(
    redis_url: str, producer: Producer, simulator: Simulator, answer: dict[str, str], made_by: str
) -> None:
    """Extract: the part of what was found that stands in the text."""
    simulator.script([{"match": {"model": "gpt-4o-mini"}, "answer": answer}, {"answer": {"total": "12.50"}}])
    schema = {"type": "object", "properties": {"total": {"type": "string"}}}
    job = await producer.enqueue(Extract(text="The total is 12.50, due in May.", schema=schema))
    gate = {"quality": "repaired", "min_confidence": 0.9}
    await work_off(settings_of(redis_url, simulator, CHEAP, STRONG, cascade={CHEAP: gate}))
    assert (await job.result(timeout_s=0)).made_by.name == made_by


async def test_an_answer_that_is_not_sure_enough_is_doubtful(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """It is taken when there is no other, and says why it is suspect."""
    simulator.script([{"match": {"model": "gpt-4o-mini"}, "answer": {"total": "999"}}, "529"])
    schema = {"type": "object", "properties": {"total": {"type": "string"}}}
    job = await producer.enqueue(Extract(text="The total is 12.50, due in May.", schema=schema))
    gate = {"quality": "ok", "min_confidence": 0.9}
    await work_off(settings_of(redis_url, simulator, CHEAP, STRONG, cascade={CHEAP: gate}))
    result = await job.result(timeout_s=0)
    assert (result.quality, result.reasons) == (Quality.SUSPECT, ("low_confidence",))
