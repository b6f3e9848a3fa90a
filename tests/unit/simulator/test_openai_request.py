"""Requests are refused as OpenAI refuses them, and read as they are meant."""

from typing import Any

import orjson
import pytest

from penstock_simulator.ask import Ask, RefusedError, Request
from penstock_simulator.wire.openai_chat import OpenAIChat
from penstock_simulator.wire.openai_fields import is_reasoning
from penstock_simulator.wire.openai_request import read

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def _format(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA, **fields}}


def _read(**fields: Any) -> Ask:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return read(Request("POST", "/v1/chat/completions", {}, orjson.dumps(body)))


def test_a_whole_request_is_read() -> None:
    """Parts are joined, the cap and the schema are found."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    ask = _read(
        messages=[{"role": "system", "content": "s"}, {"role": "user", "content": parts}],
        max_completion_tokens=9,
        response_format=_format(),
        stream=True,
        stream_options={"include_usage": True},
    )
    assert [message.text for message in ask.messages] == ["s", "ab"]
    assert (ask.max_output_tokens, ask.schema, ask.stream, ask.include_usage) == (9, SCHEMA, True, True)


def test_a_stream_has_usage_only_when_asked_for() -> None:
    """As it is at OpenAI."""
    assert not _read(stream=True).include_usage
    assert _read().include_usage


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": ""}, None, None),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
        ({"colour": "red"}, None, None),
        ({"model": "o3-sim", "max_tokens": 5}, "max_tokens", "unsupported_parameter"),
        ({"model": "gpt-5-mini", "temperature": 0}, "temperature", "unsupported_value"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", "invalid_parameter_combination"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": "100"}, "max_completion_tokens", "invalid_type"),
        ({"max_completion_tokens": True}, "max_completion_tokens", "invalid_type"),
        ({"temperature": 3}, "temperature", None),
        ({"n": 2}, "n", "invalid_value"),
        ({"reasoning_effort": "low"}, None, None),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"response_format": {"type": "json_object"}}, "messages", None),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": _format(name="bad name")}, "response_format.json_schema.name", "invalid_value"),
        (
            {"response_format": _format(schema=None)},
            "response_format.json_schema.schema",
            "missing_required_parameter",
        ),
        ({"response_format": _format(schema={**SCHEMA, "required": []})}, "response_format", None),
    ],
)
def test_wrong_requests_are_refused(fields: dict[str, Any], param: str | None, code: str | None) -> None:
    """With status 400 and the param and code that OpenAI names."""
    with pytest.raises(RefusedError) as refused:
        _read(**fields)
    problem = refused.value.problem
    assert (problem.status, problem.type, problem.param, problem.code) == (400, "invalid_request_error", param, code)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b'{"model": NaN}'])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Before anything else is looked at."""
    with pytest.raises(RefusedError, match="could not parse the JSON body"):
        read(Request("POST", "/", {}, body))


def test_json_mode_wants_the_word_json() -> None:
    """Anywhere in the messages, in any case."""
    ask = _read(
        messages=[{"role": "user", "content": "Answer in Json."}],
        response_format={"type": "json_object"},
    )
    assert ask.json_mode
    assert ask.schema is None


def test_a_lax_schema_need_not_be_strict() -> None:
    """Without `strict` any schema is taken."""
    assert _read(response_format=_format(strict=False, schema={"type": "object"})).schema == {"type": "object"}


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("o3-sim", True),
        ("o1", True),
        ("openai/o4-mini", True),
        ("gpt-5.4-mini", True),
        ("gpt-4o", False),
        ("turbo3", False),
    ],
)
def test_reasoning_models_are_known_by_name(model: str, reasons: bool) -> None:
    """The o-series and gpt-5."""
    assert is_reasoning(model) == reasons


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({}, None),
        ({"authorization": "Basic abc"}, None),
        ({"authorization": "Bearer sk-wrong-wrong-wrong"}, "invalid_api_key"),
    ],
)
def test_a_missing_or_wrong_key_is_refused(header: dict[str, str], code: str | None) -> None:
    """With 401, and without the key in the message."""
    with pytest.raises(RefusedError) as refused:
        OpenAIChat().authorize(Request("POST", "/", header, b""), "sk-right")
    assert (refused.value.problem.status, refused.value.problem.code) == (401, code)
    assert "sk-wrong-wrong" not in refused.value.problem.message
    OpenAIChat().authorize(Request("POST", "/", {"authorization": "Bearer sk-right"}, b""), "sk-right")
    OpenAIChat().authorize(Request("POST", "/", {}, b""), None)
