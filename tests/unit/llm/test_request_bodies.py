"""What each family asks, field by field."""

from typing import Any

import pytest

from penstock_worker.llm.client import FAMILIES
from penstock_worker.llm.errors import ContextTooLongError
from penstock_worker.llm.family import Prepared
from penstock_worker.llm.port import CallRequest, SchemaMode, Target, Turn

SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}}, "required": ["a"]}
TOLD = {"type": "string", "description": "(maxLength: 5)"}
CLOSED = {**SCHEMA, "properties": {"a": TOLD}, "additionalProperties": False}
DROPPED = ("/properties/a/maxLength",)
TURNS = (Turn("assistant", "x"), Turn("user", "not JSON"))


def prepare(kind: str, *, options: dict[str, Any] | None = None, base_url: str = "", **fields: Any) -> Prepared:
    place = Target("t/m", kind, "m", base_url or "https://example.com", options=options or {})
    FAMILIES[kind].check_options(place)
    return FAMILIES[kind].prepare(place, CallRequest(**{"system": "s", "user": "u", "max_output_tokens": 9, **fields}))


def test_responses() -> None:
    """Instructions apart from the input, nothing stored, and no seed, which this format does not have."""
    prepared = prepare("openai-responses", temperature=0.5, seed=7, turns=TURNS, schema=SCHEMA, stream=True)
    assert prepared.path == "/responses"
    assert prepared.body == {
        "model": "m",
        "input": [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "x"},
            {"role": "user", "content": "not JSON"},
        ],
        "instructions": "s",
        "max_output_tokens": 9,
        "store": False,
        "temperature": 0.5,
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": CLOSED, "strict": True}},
        "stream": True,
    }
    assert (prepared.schema_mode, prepared.schema_changes) == (SchemaMode.JSON_SCHEMA, DROPPED)


def test_responses_json_object() -> None:
    """The word JSON stands in the input, where this format demands it."""
    prepared = prepare("openai-responses", schema={"type": "object"}, options={"store": True})
    assert prepared.body["text"] == {"format": {"type": "json_object"}}
    assert "JSON" in prepared.body["input"][0]["content"]
    assert prepared.body["instructions"] == "s"
    assert prepared.body["store"] is True


def test_anthropic() -> None:
    """System apart, the cap required, optional properties left optional, bounds dropped and named."""
    prepared = prepare("anthropic", temperature=0.5, seed=7, turns=TURNS, schema=SCHEMA)
    assert prepared.path == "/v1/messages"
    assert prepared.body == {
        "model": "m",
        "max_tokens": 9,
        "system": "s",
        "messages": [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "x"},
            {"role": "user", "content": "not JSON"},
        ],
        "temperature": 0.5,
        "output_config": {"format": {"type": "json_schema", "schema": CLOSED}},
    }
    assert (prepared.schema_mode, prepared.schema_changes) == (SchemaMode.JSON_SCHEMA, DROPPED)


def test_anthropic_has_no_mode_between() -> None:
    """Without a schema that fits, the schema stands in the prompt; there is no promise of JSON alone."""
    for fields in ({"schema": {"type": "object"}}, {"schema": SCHEMA, "schema_mode": SchemaMode.JSON_OBJECT}):
        prepared = prepare("anthropic", **fields)
        assert prepared.schema_mode is SchemaMode.PROMPT
        assert "output_config" not in prepared.body


@pytest.mark.parametrize(("size", "options", "marked"), [(100, {}, False), (20_000, {}, True)])
def test_anthropic_marks_a_long_system_part(size: int, options: dict[str, Any], marked: bool) -> None:
    """What is long enough to be cached is marked, and the documents behind it are not."""
    body = prepare("anthropic", system="x" * size, options=options).body
    assert isinstance(body["system"], list) == marked
    if marked:
        assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["messages"] == [{"role": "user", "content": "u"}]


def test_anthropic_marking_is_a_choice() -> None:
    """Zero switches it off, another size moves it."""
    assert prepare("anthropic", system="x" * 20_000, options={"cache_prefix_bytes": 0}).body["system"] == "x" * 20_000
    assert isinstance(prepare("anthropic", system="xyz", options={"cache_prefix_bytes": 3}).body["system"], list)


def test_anthropic_keeps_further_output_settings() -> None:
    """An effort from the configuration stays beside the format."""
    body = prepare("anthropic", schema=SCHEMA, options={"body": {"output_config": {"effort": "low"}}}).body
    assert body["output_config"]["effort"] == "low"
    assert body["output_config"]["format"]["type"] == "json_schema"


def test_gemini() -> None:
    """The model in the path, roles and settings in Gemini's words."""
    prepared = prepare("gemini", temperature=0.5, seed=7, turns=TURNS, schema=SCHEMA, options={"thinking_budget": 0})
    assert prepared.path == "/v1beta/models/m:generateContent"
    assert prepared.body == {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "u"}]},
            {"role": "model", "parts": [{"text": "x"}]},
            {"role": "user", "parts": [{"text": "not JSON"}]},
        ],
        "generationConfig": {
            "maxOutputTokens": 9,
            "temperature": 0.5,
            "seed": 7,
            "responseMimeType": "application/json",
            "responseJsonSchema": CLOSED,
            "thinkingConfig": {"thinkingBudget": 0},
        },
    }
    assert (prepared.schema_mode, prepared.schema_changes) == (SchemaMode.JSON_SCHEMA, DROPPED)
    weaker = prepare("gemini", schema={"type": "object"}).body["generationConfig"]
    assert weaker["responseMimeType"] == "application/json"
    assert "responseJsonSchema" not in weaker


def test_gemini_keeps_further_settings() -> None:
    """Safety settings and a top_k from the configuration stay; the cap is ours."""
    extra = {"safetySettings": [], "generationConfig": {"topK": 1, "maxOutputTokens": 5}}
    body = prepare("gemini", options={"body": extra}).body
    assert body["safetySettings"] == []
    assert body["generationConfig"] == {"topK": 1, "maxOutputTokens": 9}


def test_ollama() -> None:
    """Window and cap are explicit, cutting is forbidden, and the schema is a format and in the prompt."""
    prepared = prepare("ollama", temperature=0.5, seed=7, schema=SCHEMA, options={"num_ctx": 4096, "think": False})
    assert prepared.path == "/api/chat"
    system = prepared.body["messages"].pop(0)
    assert system["role"] == "system"
    assert "JSON Schema" in system["content"]
    assert prepared.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "u"}],
        "stream": False,
        "options": {"num_ctx": 4096, "num_predict": 9, "temperature": 0.5, "seed": 7},
        "truncate": False,
        "shift": False,
        "format": {**SCHEMA, "additionalProperties": False},
        "think": False,
    }
    assert prepared.schema_changes == ()


def test_ollama_schema_in_the_grammar_alone() -> None:
    """The prompt can be left as it is."""
    body = prepare("ollama", schema=SCHEMA, options={"schema_in_prompt": False}).body
    assert body["messages"][0] == {"role": "system", "content": "s"}
    assert prepare("ollama", schema={"type": "object"}).body["format"] == "json"


def test_ollama_refuses_what_cannot_fit() -> None:
    """An input that surely exceeds the window is not sent."""
    with pytest.raises(ContextTooLongError) as caught:
        prepare("ollama", user="word " * 20_000)
    assert not caught.value.sent
    prepare("ollama", user="word " * 20_000, options={"num_ctx": 32_768})


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "/openai/v1/chat/completions"),
        ({"api_version": "preview"}, "/openai/v1/chat/completions?api-version=preview"),
        (
            {"path": "deployments", "api_version": "2024-10-21"},
            "/openai/deployments/m/chat/completions?api-version=2024-10-21",
        ),
    ],
)
def test_azure_paths(options: dict[str, Any], path: str) -> None:
    """Both forms of the path; the deployment is the model of the body in either."""
    prepared = prepare("azure", options=options)
    assert prepared.path == path
    assert prepared.body["model"] == "m"
    assert prepared.body["max_completion_tokens"] == 9


def test_azure_deployments_need_a_version() -> None:
    """The older path without its query is an error at the start."""
    place = Target("t/m", "azure", "m", "https://example.com", options={"path": "deployments"})
    with pytest.raises(ValueError, match=r"^options\.api_version: needed"):
        FAMILIES["azure"].check_options(place)


@pytest.mark.parametrize(
    ("kind", "base_url", "path"),
    [
        ("anthropic", "https://api.anthropic.com/v1", "/messages"),
        ("anthropic", "https://proxy.example/anthropic/", "/v1/messages"),
        ("azure", "https://x.openai.azure.com/openai/v1/", "/chat/completions"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta", "/models/m:generateContent"),
        ("gemini", "https://x.googleapis.com/v1/projects/p/locations/l/publishers/google", "/models/m:generateContent"),
        ("ollama", "http://localhost:11434/api", "/chat"),
    ],
)
def test_the_version_may_stand_in_the_base_url(kind: str, base_url: str, path: str) -> None:
    """Vendors' own pages write base URLs with and without it."""
    assert prepare(kind, base_url=base_url).path == path


def test_gemini_streams_events() -> None:
    """Without alt=sse an array would come."""
    assert prepare("gemini", stream=True).path == "/v1beta/models/m:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("kind", "options", "header", "value"),
    [
        ("anthropic", {}, "x-api-key", "k"),
        ("anthropic", {"auth": "bearer"}, "authorization", "Bearer k"),
        ("azure", {}, "api-key", "k"),
        ("azure", {"auth": "bearer"}, "authorization", "Bearer k"),
        ("gemini", {}, "x-goog-api-key", "k"),
        ("gemini", {"auth": "bearer"}, "authorization", "Bearer k"),
        ("ollama", {}, "authorization", "Bearer k"),
        ("openai-responses", {}, "authorization", "Bearer k"),
    ],
)
def test_key_headers(kind: str, options: dict[str, Any], header: str, value: str) -> None:
    """Each provider has its own header for the key."""
    assert FAMILIES[kind].headers(Target("t/m", kind, "m", "https://x", options=options), "k")[header] == value


def test_anthropic_version_header() -> None:
    """The API's version is always sent; a beta is a header of the configuration."""
    place = Target("t/m", "anthropic", "m", "https://x", options={"headers": {"Anthropic-Beta": "b"}})
    headers = FAMILIES["anthropic"].headers(place, None)
    assert headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "b"}
