"""Fallback chain: a 400 stops the chain, a 529 moves on; each target once, with provenance, money and time."""

from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import JobDeadError, Producer, Summarize
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import Settings
from tests.support.workers import work_off, worker_settings

TEXT = "The mill stands by the river. Its wheel turns day and night. The miller sleeps well, for the sluice holds. " * 3
CHAIN = ("openai/gpt-4o-mini", "openai/gpt-4o", "openai/gpt-4.1")
NAMES = [target.partition("/")[2] for target in CHAIN]


def settings_of(redis_url: str, simulator: Simulator, **options: Any) -> Settings:
    """A route of three targets; the breaker is out of the way, and a refused key fails."""
    breaker = {"enabled": False, "access_refused": "fail"}
    return worker_settings(redis_url, simulator.base_url, **{"targets": CHAIN, "breaker": breaker, **options})


def first_fails(fault: str) -> list[Any]:
    return [{"match": {"model": NAMES[0]}, "fault": fault}]


def models(simulator: Simulator) -> list[str]:
    return [call.model for call in simulator.calls()]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("529", "overloaded"),
        ("503", "overloaded"),
        ("500", "server_error"),
        ("504", "gateway_error"),
        ("429 retry-after=9", "throttled"),
        ("quota", "quota_exhausted"),
        ("invalid-key", "auth_failed"),
        ("model-not-found", "model_not_found"),
        ("cut-before", "connection_lost"),
        ("wrong-schema", "bad_output"),
        ("length", "cut_off"),
    ],
)
async def test_what_another_model_can_mend_moves_on(
    redis_url: str, producer: Producer, simulator: Simulator, fault: str, code: str
) -> None:
    """To the next target, in the same attempt, and no further; the result names what was tried."""
    simulator.script(first_fails(fault))
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20))
    await work_off(settings_of(redis_url, simulator))
    result = await job.result(timeout_s=0)
    assert (result.state, result.attempts, result.made_by.name) == ("succeeded", 1, CHAIN[1])
    assert [(tried.target, tried.code) for tried in result.tried] == [(CHAIN[0], code)]
    assert dict.fromkeys(models(simulator)) == dict.fromkeys(NAMES[:2])


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("400", "request_rejected"),
        ("422", "request_rejected"),
        ("content-policy", "content_filtered"),
        ("refusal", "refused"),
        ("content-filter", "content_filtered"),
    ],
)
async def test_what_is_wrong_with_the_request_stops_the_chain(
    redis_url: str, producer: Producer, simulator: Simulator, fault: str, code: str
) -> None:
    """Nobody else is asked, and nobody again."""
    simulator.script(first_fails(fault))
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20), on_failure="dead_letter")
    await work_off(settings_of(redis_url, simulator))
    with pytest.raises(JobDeadError) as dead:
        await job.result(timeout_s=0)
    assert dead.value.reason == code
    assert models(simulator) == NAMES[:1]


async def test_a_route_may_want_another_opinion_after_a_refusal(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """Only of the target that names it in its ``after``; the one between is passed over."""
    simulator.script(first_fails("refusal"))
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20))
    route = {"when": {CHAIN[2]: {"after": ["refused", "content_filtered"]}}}
    await work_off(settings_of(redis_url, simulator, route=route))
    assert (await job.result(timeout_s=0)).made_by.name == CHAIN[2]
    assert models(simulator) == [NAMES[0], NAMES[2]]


CONDITIONS: list[tuple[dict[str, Any], bool]] = [
    ({"input_tokens_to": 50}, False),
    ({"input_tokens_from": 50, "input_tokens_to": 5_000}, True),
    ({"tasks": ["summarize"]}, True),
    ({"tasks": ["classify"]}, False),
    ({"tenants": ["acme"], "lanes": ["bulk"]}, True),
    ({"tenants": ["acme"], "lanes": ["interactive"]}, False),
    ({"metadata": {"tier": ["gold", "silver"]}}, True),
    ({"metadata": {"tier": ["bronze"]}}, False),
    ({"fields": {"max_words": [20]}}, True),
    ({"fields": {"style": ["bullets"]}}, False),
    ({"time_left_s": 30.0}, True),
    ({"time_left_s": 600.0}, False),
    ({"after": ["overloaded"]}, True),
    ({"after": ["timeout", "throttled"]}, False),
]


@pytest.mark.parametrize(("when", "asked"), CONDITIONS)
async def test_a_target_is_asked_when_its_condition_holds(
    redis_url: str, producer: Producer, simulator: Simulator, when: dict[str, Any], asked: bool
) -> None:
    """Else it is passed over, as if it did not stand there."""
    simulator.script(first_fails("529"))
    job = await producer.enqueue(
        Summarize(text=TEXT, max_words=20), lane="bulk", metadata={"tier": "gold"}, deadline_s=120
    )
    await work_off(settings_of(redis_url, simulator, route={"when": {CHAIN[1]: when}}))
    assert (await job.result(timeout_s=0)).made_by.name == (CHAIN[1] if asked else CHAIN[2])
    assert models(simulator) == [NAMES[0], NAMES[1] if asked else NAMES[2]]


async def test_a_job_that_no_target_is_for_says_so(redis_url: str, producer: Producer, simulator: Simulator) -> None:
    """It does not wait for ever, and makes no call."""
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20), on_failure="dead_letter")
    route = {"when": {target: {"tenants": ["other"]} for target in CHAIN}}
    await work_off(settings_of(redis_url, simulator, route=route))
    with pytest.raises(JobDeadError, match="no_target"):
        await job.result(timeout_s=0)
    assert simulator.calls() == []


async def test_a_target_that_may_cost_too_much_is_left_to_a_cheaper_one(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """The dear one is first in the route; the job's limit has room for the cheap one alone."""
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20), max_cost_usd="0.001")
    await work_off(settings_of(redis_url, simulator, targets=(CHAIN[1], CHAIN[0])))
    result = await job.result(timeout_s=0)
    assert (result.state, result.made_by.name) == ("succeeded", CHAIN[0])
    assert [(tried.target, tried.code) for tried in result.tried] == [(CHAIN[1], "over_budget")]
    assert models(simulator) == [NAMES[0]]


async def test_a_budget_without_room_for_one_has_room_for_another(
    redis_url: str, producer: Producer, simulator: Simulator
) -> None:
    """The same for budgets of all jobs: nothing waits for a window to turn."""
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20))
    budgets = {"global": {"day_usd": "0.001"}}
    await work_off(settings_of(redis_url, simulator, targets=(CHAIN[1], CHAIN[0]), budgets=budgets))
    result = await job.result(timeout_s=0)
    assert [(tried.target, tried.code) for tried in result.tried] == [(CHAIN[1], "budget_exceeded")]
    assert result.made_by.name == CHAIN[0]


async def test_no_target_is_asked_after_the_deadline(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator
) -> None:
    """The first takes all the time there is; the second is not begun."""
    simulator.script(first_fails("hang"))
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20), deadline_s=1.0, on_failure="dead_letter")
    await work_off(settings_of(redis_url, simulator))
    with pytest.raises(JobDeadError, match="deadline_exceeded"):
        await job.result(timeout_s=0)
    assert models(simulator) == NAMES[:1]
