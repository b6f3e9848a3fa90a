"""Gemini's requests are protobuf in JSON: names it does not know are errors, and its schemas are its own."""

from typing import Any

import orjson
import pytest

from penstock_simulator.ask import Ask, RefusedError, Request
from penstock_simulator.wire.gemini_request import read

CONTENTS = [{"role": "user", "parts": [{"text": "Hello"}]}]


def _read(model: str = "gemini-2.0-flash", query: str = "", method: str = "generateContent", **body: Any) -> Ask:
    data = orjson.dumps({"contents": CONTENTS, **body})
    return read(Request("POST", f"/v1beta/models/{model}:{method}", {}, data, query=query))


def _config(schema: Any, **fields: Any) -> dict[str, Any]:
    return {"generationConfig": {"responseMimeType": "application/json", "responseSchema": schema, **fields}}


def test_names_may_be_in_snake_case() -> None:
    """As protobuf allows."""
    ask = _read(
        system_instruction={"parts": {"text": "Be exact."}},
        generation_config={"max_output_tokens": 9, "response_mime_type": "application/json"},
    )
    assert [(message.role, message.text) for message in ask.messages] == [("system", "Be exact."), ("user", "Hello")]
    assert (ask.max_output_tokens, ask.json_mode, ask.stream) == (9, True, False)


def test_its_own_schema_becomes_json_schema() -> None:
    """Upper-case types and `nullable`."""
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True, "enum": ["x"]}}}
    assert _read(**_config(schema)).schema == {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"], "enum": ["x", None]}},
    }


def test_json_schema_is_taken_as_it_is() -> None:
    """What is not supported is read over, not refused."""
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "additionalProperties": False}
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert _read(generationConfig=config).schema == schema


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, 'Unknown name "messages": Cannot find field.'),
        ({"generationConfig": {"maxTokens": 9}}, "Unknown name \"maxTokens\" at 'generation_config'"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "max_output_tokens must be positive"),
        ({"generationConfig": {"temperature": 3}}, "in the range [0.0, 2.0]"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "user", "parts": []}]}, "parts must not be empty"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        (
            _config({"type": "OBJECT", "additionalProperties": False, "properties": {"a": {"type": "STRING"}}}),
            "Unknown",
        ),
        (_config({"type": ["string", "null"]}), "Proto field is not repeating"),
        (_config({"type": "text"}), "google.ai.generativelanguage.v1beta.Type"),
        (_config({"type": "OBJECT"}), "should be non-empty for OBJECT type"),
        (_config({"type": "ARRAY"}), "items: missing field"),
        (_config({"type": "STRING", "format": "email"}), "only 'enum' and 'date-time' are supported"),
        (_config({"type": "STRING", "enum": [f"e{n}" for n in range(700)]}), "too many states for serving"),
        (_config({"type": "STRING"}, responseMimeType="text/plain"), "only supported with response_mime_type"),
        (_config({"type": "STRING"}, responseJsonSchema={}), "Only one of"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1}}}, "Thinking is not enabled"),
    ],
)
def test_wrong_requests_are_refused(body: dict[str, Any], message: str) -> None:
    """With 400 INVALID_ARGUMENT."""
    with pytest.raises(RefusedError) as refused:
        _read(**body)
    assert (refused.value.problem.status, refused.value.problem.type) == (400, "INVALID_ARGUMENT")
    assert message in refused.value.problem.message


@pytest.mark.parametrize(
    ("thinking", "tokens"),
    [({}, 256), ({"thinkingBudget": 0}, 0), ({"thinkingBudget": 100}, 100), ({"thinkingLevel": "LOW"}, 96)],
)
def test_newer_models_think_unless_told_not_to(thinking: dict[str, Any], tokens: int) -> None:
    """Within the budget."""
    assert _read("gemini-2.5-flash", generationConfig={"thinkingConfig": thinking}).reasoning_tokens == tokens
