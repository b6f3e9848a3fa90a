"""An attempt that goes on after its worker died takes every paid answer as the answer of the target that gave it."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from penstock import Producer, Quality, Summarize
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.attempt.journal import answer_to_json
from penstock_worker.engine.lease import Lease
from penstock_worker.settings import Settings
from tests.support.attempts import an_answer
from tests.support.jobs import HandWorker, hand_worker
from tests.support.workers import work_off

FIRST, SECOND = "openai/gpt-4o-mini", "openai/gpt-4o"
TEXT = "The mill stands by the river. Its wheel turns day and night. The miller sleeps well, for the sluice holds. "
GOOD, DOUBTFUL = '{"summary": "A mill works all night by its river."}', '{"summary": "The wheel turns and"}'
Make = Callable[..., Settings]


async def call(worker: HandWorker, lease: Lease, number: int, target: str, text: str) -> None:
    """Write a call down with its answer, as the worker did that is gone now."""
    told = {"target": target, "prompt": "summarize@1", "purpose": "ask", "held_nanousd": 9, "at_ms": 1}
    await worker.store.intend(lease, f"1.1.{number}", told, 30)
    money = {"cost_nanousd": 5, "uncertain_nanousd": 0}
    end = {**answer_to_json(an_answer(text)), **money}
    ledger = {"estimated": 0, "tenant": "acme", "task": "summarize", "prompt": "summarize@1", "target": target}
    await worker.store.settle(lease, f"1.1.{number}", "answered", end, ledger=ledger, **money)


async def vanish(redis_url: str, producer: Producer, *calls: tuple[str, str]) -> Any:
    """A job whose worker made these calls (target, answer) and was never seen again."""
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20))
    async with hand_worker(redis_url) as worker:
        lease = await worker.claim_one()
        for number, (target, text) in enumerate(calls, start=1):
            await call(worker, lease, number, target, text)
        await end_lease(worker, lease)
    return job


async def end_lease(worker: HandWorker, lease: Lease) -> None:
    """As when nobody has renewed it."""
    await worker.batcher.execute("PEXPIRE", keys.arq_in_progress(lease.job_id), 60_000)  # its grace
    await worker.batcher.execute("ZADD", lease.queue, 1, lease.job_id)


async def test_what_was_passed_over_is_passed_over_again(
    redis_url: str, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """The first target was closed then, and is open now: the second's answer is not bought again, nor taken for its."""
    job = await vanish(redis_url, producer, (SECOND, GOOD))
    await work_off(settings(targets=[FIRST, SECOND]))
    result = await job.result(timeout_s=0)
    assert (result.made_by.name, result.calls, result.cost_nanousd) == (SECOND, 1, 5)
    assert simulator.calls() == []


async def test_a_cascade_goes_on_where_it_was(
    redis_url: str, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """The cheap answer was below the gate then, and is still in hand; only the strong model is asked."""
    simulator.script([{"answer": GOOD}])
    job = await vanish(redis_url, producer, (FIRST, DOUBTFUL))
    await work_off(settings(targets=[FIRST, SECOND], route={"cascade": {FIRST: {"quality": "ok"}}}))
    result = await job.result(timeout_s=0)
    assert (result.made_by.name, result.quality, result.calls) == (SECOND, Quality.OK, 2)
    assert [call.model for call in simulator.calls()] == ["gpt-4o"]


async def test_a_cascade_that_had_both_answers_buys_none(
    redis_url: str, producer: Producer, simulator: Simulator, settings: Make
) -> None:
    """And gives the same as it would have."""
    job = await vanish(redis_url, producer, (FIRST, DOUBTFUL), (SECOND, GOOD))
    await work_off(settings(targets=[FIRST, SECOND], route={"cascade": {FIRST: {"quality": "ok"}}}))
    result = await job.result(timeout_s=0)
    assert (result.made_by.name, result.quality, result.cost_nanousd) == (SECOND, Quality.OK, 10)
    assert simulator.calls() == []


@pytest.mark.parametrize("weights", [(1, 1_000_000), (1_000_000, 1)])
async def test_an_arm_is_kept_over_the_death_of_a_worker(
    redis_url: str, redis: Redis, producer: Producer, simulator: Simulator, settings: Make, weights: tuple[int, int]
) -> None:
    """What was called in an arm goes on in it, whatever the weights say by now."""
    job = await producer.enqueue(Summarize(text=TEXT, max_words=20))
    async with hand_worker(redis_url) as worker:
        lease = await worker.claim_one()
        told = {"target": SECOND, "prompt": "summarize@1", "purpose": "ask", "held_nanousd": 9, "at_ms": 1}
        await worker.store.intend(lease, "1.1.1", {**told, "arm": "models/strong"}, 30)
        await end_lease(worker, lease)
    arms = {"cheap": {"weight": weights[0]}, "strong": {"weight": weights[1], "targets": [SECOND]}}
    await work_off(settings(targets=[FIRST], route={"experiment": "models", "arms": arms}))
    result = await job.result(timeout_s=0)
    assert (result.arm, result.made_by.name) == ("models/strong", SECOND)
