"""The client and the simulator, written apart from each other, agree on the wire format."""

from collections.abc import Iterator

import jsonschema
import orjson
import pytest

from penstock_simulator.process import SimulatorProcess
from penstock_worker.llm.absent import drop_absent
from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.port import CallRequest, SchemaMode, StopReason, Target

SCHEMA = {
    "type": "object",
    "properties": {"summary": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["summary"],
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as process:
        yield process


async def test_whole_and_streamed_answers_are_the_same(client: HttpModelClient, simulator: SimulatorProcess) -> None:
    """Text, stop reason and usage do not depend on how the answer came, and the deltas are the text."""
    target = Target(name="s/m", kind="openai", model="gpt-4o-mini", base_url=simulator.base_url, allow_private=True)
    request = {"system": "Summarize.", "user": "The cat sat on the mat. It was a good mat.", "max_output_tokens": 100}
    whole = await client.call(target, CallRequest(**request, schema=SCHEMA))
    deltas: list[str] = []
    streamed = await client.call(target, CallRequest(**request, schema=SCHEMA, stream=True), on_delta=deltas.append)
    assert whole.stop is streamed.stop is StopReason.COMPLETE
    assert whole.schema_mode is SchemaMode.JSON_SCHEMA
    assert "".join(deltas) == streamed.text == whole.text
    assert streamed.usage == whole.usage
    assert whole.usage is not None
    assert not whole.usage.suspect
    jsonschema.validate(drop_absent(orjson.loads(whole.text), SCHEMA), SCHEMA)
