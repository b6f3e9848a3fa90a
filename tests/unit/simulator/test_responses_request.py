"""Responses requests are refused as OpenAI refuses them, and read as they are meant."""

from typing import Any

import orjson
import pytest

from penstock_simulator.ask import Ask, RefusedError, Request
from penstock_simulator.wire.responses_request import read

CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}


def _read(**fields: Any) -> Ask:
    return read(Request("POST", "/v1/responses", {}, orjson.dumps({"model": "gpt-4o", "input": "Hello", **fields})))


def test_instructions_come_first_and_items_are_turns() -> None:
    """Whatever kind they are of."""
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    ask = _read(instructions="Be exact.", input=[{"role": "user", "content": parts}, CALL, OUTPUT])
    assert [message.role for message in ask.messages] == ["developer", "user", "assistant", "tool"]
    assert [ask.messages[place].text for place in (1, 3)] == ["ab", "sunny"]
    assert (ask.store, ask.background) == (True, False)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": []}, "messages", "unknown_parameter"),
        ({"response_format": {}}, "response_format", "unsupported_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value"),
        (
            {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "input[0].content[0].type",
            "invalid_value",
        ),
        ({"input": [CALL]}, "input", None),
        ({"input": [OUTPUT]}, "input[0]", None),
        ({"max_output_tokens": 15}, "max_output_tokens", "integer_below_min_value"),
        ({"background": True, "store": False}, "background", "unsupported_parameter"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
        ({"text": {"format": {"type": "json_object"}}}, "input", None),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "strict": True, "schema": {"type": "object"}}}},
            "text.format.schema",
            "invalid_json_schema",
        ),
    ],
)
def test_wrong_requests_are_refused(fields: dict[str, Any], param: str, code: str | None) -> None:
    """With status 400 and the param and code that OpenAI names."""
    with pytest.raises(RefusedError) as refused:
        _read(**fields)
    problem = refused.value.problem
    assert (problem.status, problem.param, problem.code) == (400, param, code)
