"""A simulator in this process, and a client that asks it for a summary."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from penstock_simulator import Simulator

TEXT = (
    "The harbour bridge closes for repairs on Monday. Engineers found cracks in two of its steel girders last week. "
    "The repairs will cost four million euros and take six months. Drivers are asked to use the tunnel."
)
SCHEMA = {
    "type": "object",
    "properties": {"summary": {"type": "string"}, "label": {"type": "string", "enum": ["traffic", "sport"]}},
    "required": ["summary", "label"],
    "additionalProperties": False,
}


@pytest.fixture
def body() -> Callable[..., dict[str, Any]]:
    """Make a request's body; fields are added to it or replace its own."""

    def make(text: str = TEXT, **fields: Any) -> dict[str, Any]:
        user = f"Summarize in at most 25 words.\n<<<9f8e7d6c>>>\n{text}\n<<<9f8e7d6c>>>"
        shape = {"name": "answer", "strict": True, "schema": SCHEMA}
        return {
            "model": "gpt-4o-mini",
            "messages": [{"role": "system", "content": "You are exact."}, {"role": "user", "content": user}],
            "max_completion_tokens": 300,
            "response_format": {"type": "json_schema", "json_schema": shape},
            **fields,
        }

    return make


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """An honest simulator without latency."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it; nothing of the environment is used."""
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False, timeout=30) as client:
        yield client
