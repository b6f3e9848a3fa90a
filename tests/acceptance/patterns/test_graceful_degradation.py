"""Graceful degradation: with all providers down there is a result within the deadline, labelled, with its reason."""

from datetime import timedelta
from typing import Any

import pytest

from penstock import Classify, Extract, Producer, Summarize, TaskInput
from penstock_simulator.simulator import Simulator
from tests.acceptance.conftest import StartWorker

TEXT = "The mill stands by the river. Its wheel turns day and night.\nTotal: 120.50\n"
FACTS = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
ASKED: dict[str, TaskInput[Any]] = {
    "summarize": Summarize(text=TEXT, max_words=20),
    "classify": Classify(text=TEXT, labels=["mills and rivers", "bugs"]),
    "extract": Extract(text=TEXT, schema=FACTS),
}


@pytest.mark.parametrize("fault", ["503", "cut-before", "hang", "wrong-schema"])
async def test_all_providers_down(
    fault: str, producer: Producer, simulator: Simulator, start_worker: StartWorker
) -> None:
    """Each task has an answer of no model, and says which error of which kind of end was behind it."""
    simulator.script([fault])
    start_worker(targets=["openai/gpt-4o-mini", "openai/gpt-4o"])
    jobs = [await producer.enqueue(asked, deadline_s=4, max_attempts=2) for asked in ASKED.values()]
    for job in jobs:
        result = await job.result(timeout_s=30)
        assert (result.state, result.quality, result.reasons) == ("degraded", "suspect", ("degraded",))
        assert result.ended_at <= result.created_at + timedelta(seconds=4 + 5)  # a busy machine has five
        assert (result.made_by.kind, result.made_by.model, result.made_by.prompt) == ("fallback", None, None)
        assert result.failure and result.failure.code in ("deadline_exceeded", "attempts_exhausted")
        assert result.failure.last_error
    assert jobs[2].id in await degraded(producer)


async def degraded(producer: Producer) -> set[str]:
    """The ids that are listed for whoever wants a real answer later."""
    found = await producer.link.execute("ZRANGE", "penstock:degraded", 0, -1)
    return {job_id.decode() for job_id in found}


async def test_who_forbids_it_gets_none(producer: Producer, simulator: Simulator, start_worker: StartWorker) -> None:
    """A dead letter, and no made-up answer."""
    simulator.script(["wrong-schema"])
    start_worker()
    job = await producer.enqueue(ASKED["summarize"], max_attempts=1, on_failure="dead_letter")
    async for event in job.events():
        last = event
    assert last.type == "dead"
    assert (await job.status()).result is None
