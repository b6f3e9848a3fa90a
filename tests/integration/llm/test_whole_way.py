"""Jobs of every task through a real worker, over every family: from the producer to the priced result."""

from collections.abc import AsyncIterator

import pytest

from penstock import Classify, Extract, Producer, Summarize
from penstock_simulator.simulator import Simulator
from penstock_worker.llm.client import FAMILIES
from penstock_worker.settings import load_settings
from tests.support.workers import work_off

MODELS = {"anthropic": "claude-haiku-4-5", "gemini": "gemini-2.0-flash", "ollama": "llama3.2"}
PRICES = {"gemini": "google", "openai-responses": "openai", "azure": "azure", "anthropic": "anthropic"}
TEXT = "Invoice 8812 of 3 May 2024. The hall was rented for 120 euro. Payment is due in 14 days. We thank you."
INVOICE = {
    "type": "object",
    "properties": {"number": {"type": "string", "minLength": 1}, "total": {"type": ["number", "null"], "minimum": 0}},
    "required": ["number"],
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.mark.parametrize("kind", sorted(FAMILIES))
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_all_tasks_over_every_family(redis_url: str, simulator: Simulator, kind: str, stream: bool) -> None:
    """Each job succeeds by the model, with the usage and the price of what the provider charged."""
    model = MODELS.get(kind, "gpt-4o-mini")
    base_url = simulator.base_url if kind.startswith("openai") else simulator.url
    refs = {} if kind == "ollama" else {model: f"{PRICES.get(kind, 'openai')}/{model}"}
    provider = {"kind": kind, "base_url": base_url, "allow_private": True, "price_refs": refs}
    settings = load_settings(
        redis={"url": redis_url, "allow_volatile": True},
        providers={"own": provider},
        routes={"default": {"targets": [f"own/{model}"]}},
        prices={f"own/{model}": {"input_per_mtok": "0", "output_per_mtok": "0"}} if kind == "ollama" else {},
    )
    tasks = [
        Summarize(text=TEXT, max_words=40),
        Classify(text=TEXT, labels=["invoice", "weather"]),
        Extract(text=TEXT, schema=INVOICE),
    ]
    async with Producer.connect(redis_url, tenant="acme") as producer:
        jobs = [await producer.enqueue(task, stream=stream) for task in tasks]
        await work_off(settings)
        results = [await job.result(timeout_s=30) for job in jobs]
    charged = sum(call.input_tokens + call.output_tokens for call in simulator.calls())
    assert sum(result.usage.total_tokens or 0 for result in results) == charged
    for result in results:
        assert (result.state, result.made_by.name, result.calls) == ("succeeded", f"own/{model}", 1)
        assert not result.usage.suspect
        assert result.cost_nanousd is not None
        assert bool(result.cost_nanousd) == (kind != "ollama")
