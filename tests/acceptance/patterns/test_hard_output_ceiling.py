"""Hard output ceiling: no request leaves without a cap, in any provider's format, for any task or remedy."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import Classify, Extract, Producer, Summarize, TaskInput
from penstock_simulator.answers import real_answer
from penstock_simulator.ask import Ask
from penstock_simulator.simulator import Simulator
from penstock_worker.settings import load_settings
from tests.support.workers import work_off

KINDS = ["openai", "openai-responses", "anthropic", "azure", "gemini", "ollama"]
TEXT = "The mill stands by the river. Its wheel turns day and night."
ASKED: list[TaskInput[Any]] = [
    Summarize(text=TEXT),
    Classify(text=TEXT, labels=["mills", "bugs"]),
    Extract(text=TEXT, schema={"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": False}),
]


@pytest.fixture
def asks() -> list[Ask]:
    """What the provider was asked."""
    return []


@pytest.fixture
async def simulator(asks: list[Ask]) -> AsyncIterator[Simulator]:
    """A provider that notes what it is asked."""

    def answer(ask: Ask) -> str:
        asks.append(ask)
        return real_answer(ask)

    async with Simulator(answers=answer) as simulator:
        yield simulator


@pytest.mark.parametrize("kind", KINDS)
async def test_no_request_leaves_without_a_cap(
    kind: str, producer: Producer, simulator: Simulator, asks: list[Ask], redis_url: str
) -> None:
    """The route's, or twice as much after a cut-off; streamed or whole; asked for the first time or again."""
    base = simulator.base_url if kind.startswith("openai") else simulator.url
    provider = {"kind": kind, "base_url": base, "allow_private": True}
    settings = load_settings(
        redis={"url": redis_url, "allow_volatile": True},
        providers={"p": provider},
        routes={"default": {"targets": ["p/gpt-4o-mini"], "max_output_tokens": 321, "unknown_price": "allow"}},
    )
    simulator.script([{"match": {"nth": 1}, "fault": "length at=0.5"}, {"match": {"nth": 2}, "fault": "wrong-schema"}])
    jobs = [await producer.enqueue(asked, stream=stream) for asked in ASKED for stream in (False, True)]
    await work_off(settings)
    assert {(await job.status()).state for job in jobs} == {"succeeded"}
    assert len(asks) >= len(jobs) + 2
    assert {ask.max_output_tokens for ask in asks} == {321, 642}
