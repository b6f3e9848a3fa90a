"""Work in the background when its worker goes: left to the next one, which finds it; withdrawn only if unwanted."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

import penstock_worker.tasks.summarize  # noqa: F401  (registers its task)
from penstock import Producer, Summarize
from penstock_schemas import keys
from penstock_simulator.simulator import Simulator
from penstock_worker.attempt.asking import first_request
from penstock_worker.attempt.attempt import read_attempt
from penstock_worker.attempt.calling import Caller
from penstock_worker.engine.lease import Lease
from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import Answer, Target
from penstock_worker.money.costing import Costing
from penstock_worker.money.prices import PriceTable
from penstock_worker.routing.routes import Route, Routes
from penstock_worker.tasks import tasks
from tests.support.jobs import hand_worker
from tests.support.wait import until

ASKED = Summarize(text="The mill stands by the river. Its wheel turns day and night.", max_words=20)


@pytest.mark.parametrize("reason", ["drain", "lost", "abort"])
async def test_only_a_cancel_ends_the_work(redis_url: str, redis: Redis, producer: Producer, reason: Any) -> None:
    """A worker that drains or has lost the job settles nothing; the next one waits for what was begun."""
    async with Simulator(latency="1s") as simulator, hand_worker(redis_url) as worker:
        target = Target(
            "openai/gpt-4o-mini",
            "openai-responses",
            "gpt-4o-mini",
            simulator.base_url,
            allow_private=True,
            options={"background": True},
        )
        routes = Routes({"default": Route("default", (target,))}, {target.name: target})
        client = HttpModelClient()
        caller = Caller(worker.store, client, Costing(PriceTable()))

        async def call(lease: Lease) -> Answer | CallError:
            attempt = read_attempt(lease, dict(tasks()), routes)
            return (await caller.call(attempt, target, first_request(attempt), "ask"))[1]

        job = await producer.enqueue(ASKED)
        lease = await worker.claim_one()
        first = asyncio.create_task(call(lease))
        await until(lambda: redis.hexists(keys.journal(job.id), "1.1.1:response"))
        lease.cancel_reason = reason
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        (begun,) = simulator.calls()
        stored = simulator._provider.stored.get(str(begun.response_id))
        settled = await redis.hexists(keys.journal(job.id), "1.1.1:end")
        assert stored is not None
        assert (settled, stored["status"] == "cancelled") == ((True, True) if reason == "abort" else (False, False))
        if reason != "abort":
            await worker.store.reschedule(lease, delay_s=0, charged=False, attempt=None, reason="drain")
            answer = await call(await worker.claim_one())
            assert isinstance(answer, Answer) and answer.text
            assert len(simulator.calls()) == 1
            cost, uncertain = await redis.hmget(keys.record(job.id), "cost_nanousd", "uncertain_nanousd")  # type: ignore[misc]
            assert int(cost) > 0 and int(uncertain or 0) == 0
        await client.aclose()
