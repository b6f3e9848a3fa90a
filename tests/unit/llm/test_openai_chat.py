"""The wire format of Chat Completions: what is asked, and what is read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.llm.client import FAMILIES
from penstock_worker.llm.errors import CallError, StreamBrokenError
from penstock_worker.llm.openai_chat import OpenAIChat, parse_answer
from penstock_worker.llm.openai_errors import classify
from penstock_worker.llm.openai_stream import ChatAccumulator, ChatStream
from penstock_worker.llm.port import CallRequest, SchemaMode, StopReason, Target
from penstock_worker.llm.sse import ServerEvent
from tests.support.provider import completion, delta, dumped, usage_chunk

FAMILY = OpenAIChat()
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def target(**options: Any) -> Target:
    fields = {name: options.pop(name) for name in ("schema_mode",) if name in options}
    return Target(name="t/m", kind="openai", model="m", base_url="https://example.com/v1", options=options, **fields)


def ask(**fields: Any) -> CallRequest:
    return CallRequest(**{"system": "", "user": "u", "max_output_tokens": 9, **fields})


def test_the_smallest_body() -> None:
    """What is not asked for is not sent."""
    body = FAMILY.prepare(target(), ask()).body
    assert body == {"model": "m", "messages": [{"role": "user", "content": "u"}], "max_tokens": 9}


@pytest.mark.parametrize(
    ("kind", "base_url", "field"),
    [
        ("openai", "https://api.openai.com/v1", "max_completion_tokens"),
        ("openai", "https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("azure", "https://corp.openai.azure.com", "max_completion_tokens"),
        ("azure", "https://models.corp.example", "max_completion_tokens"),
        ("openai", "https://openrouter.ai/api/v1", "max_tokens"),
        ("openai", "https://api.together.xyz/v1", "max_tokens"),
        ("openai", "http://127.0.0.1:8080/v1", "max_tokens"),
    ],
)
def test_the_cap_has_the_name_that_the_host_heeds(kind: str, base_url: str, field: str) -> None:
    """A server that does not know the newer name would leave the answer without a cap, and say nothing."""
    place = Target("t/m", kind, "m", base_url)
    body = FAMILIES[kind].prepare(place, ask()).body
    assert [name for name in body if name.startswith("max_")] == [field]


def test_options_reach_the_body() -> None:
    """Options name the cap's field, the system role and further fields, which cannot displace ours."""
    place = target(
        max_tokens_field="max_completion_tokens", system_role="developer", body={"top_k": 1, "model": "evil"}
    )
    body = FAMILY.prepare(place, ask(system="s")).body
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body
    assert body["messages"][0]["role"] == "developer"
    assert (body["top_k"], body["model"]) == (1, "m")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_token_field": "max_tokens"}, "max_token_field"),
        ({"max_tokens_field": "tokens"}, "max_tokens_field"),
        ({"strict_subset": "no"}, "strict_subset"),
        ({"headers": "x"}, "headers"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], name: str) -> None:
    """A misspelt or impossible option is an error at the start."""
    with pytest.raises(ValueError, match=rf"options\.{name}:"):
        FAMILY.check_options(target(**options))


def test_right_options_pass() -> None:
    """Every documented option with its default is accepted."""
    FAMILY.check_options(
        target(
            max_tokens_field="max_tokens",
            system_role="system",
            strict_subset=True,
            stream_usage=False,
            done_marker=True,
            headers={"openai-organization": "x"},
            body={},
        )
    )


def test_the_key_is_a_bearer_token() -> None:
    """The key is in the header and in nothing else that a family makes."""
    assert FAMILY.headers(target(headers={"X-Title": "t"}), "sk-1") == {"x-title": "t", "authorization": "Bearer sk-1"}
    assert FAMILY.headers(target(), None) == {}


@pytest.mark.parametrize(
    ("place", "fields", "mode", "format_type"),
    [
        (target(), {}, SchemaMode.JSON_SCHEMA, "json_schema"),
        (target(schema_mode=SchemaMode.JSON_OBJECT), {}, SchemaMode.JSON_OBJECT, "json_object"),
        (target(schema_mode=SchemaMode.PROMPT), {}, SchemaMode.PROMPT, None),
        (target(), {"schema_mode": SchemaMode.PROMPT}, SchemaMode.PROMPT, None),
        (target(), {"schema": {"type": "object"}}, SchemaMode.JSON_OBJECT, "json_object"),
        (target(strict_subset=False), {"schema": {"type": "object"}}, SchemaMode.JSON_SCHEMA, "json_schema"),
        (target(), {"schema": None}, None, None),
    ],
)
def test_schema_modes(place: Target, fields: Any, mode: SchemaMode | None, format_type: str | None) -> None:
    """The mode really used is told; the weaker ones have the schema, and the word JSON, in the prompt."""
    prepared = FAMILY.prepare(place, ask(**{"schema": SCHEMA, **fields}))
    assert prepared.schema_mode is mode
    assert prepared.body.get("response_format", {}).get("type") == format_type
    in_prompt = "JSON Schema" in prepared.body["messages"][0]["content"]
    assert in_prompt == (mode in (SchemaMode.JSON_OBJECT, SchemaMode.PROMPT))


def test_text_in_parts() -> None:
    """Content as a list of parts gives its text; thinking is left out."""
    parts = [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert parse_answer(dumped(completion(parts))).text == "ab"  # type: ignore[arg-type]


def test_no_content_is_an_empty_answer() -> None:
    """Null content with a finish reason is what the model said: nothing."""
    reply = parse_answer(dumped(completion(None, finish="length")))
    assert (reply.text, reply.stop) == ("", StopReason.LENGTH)


def test_only_the_first_choice_counts() -> None:
    """Choices are told apart by their index."""
    body = completion("first")
    body["choices"].insert(0, {"index": 1, "message": {"content": "second"}, "finish_reason": "stop"})
    assert parse_answer(dumped(body)).text == "first"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)
NAMES = ["error", "choices", "usage", "id", "model", "service_tier", "code", "type", "message", "param", "metadata"]
tops = st.dictionaries(st.sampled_from(NAMES), json_values) | json_values
INNER = ["index", "message", "delta", "finish_reason", "error", "content", "refusal", "reasoning"]
choice = st.recursive(
    json_values, lambda inner: st.dictionaries(st.sampled_from(INNER), inner, max_size=5), max_leaves=6
)
answers = tops | st.fixed_dictionaries({"choices": st.lists(choice, max_size=2)})


@given(answers)
def test_any_body_is_read_or_refused(body: Any) -> None:
    """A body of any shape is a reply or a CallError, never another error."""
    try:
        reply = parse_answer(json.dumps(body).encode())
    except CallError:
        return
    reply.text.encode()


@given(st.integers(100, 599), tops | st.binary(max_size=40))
def test_any_refusal_is_classified(status: int, body: Any) -> None:
    """A refusal of any shape is a CallError with a bounded detail."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = classify(status, raw)
    assert isinstance(error, CallError)
    assert len(error.detail.encode()) <= 256


@given(st.lists(answers | st.just("[DONE]"), max_size=4))
def test_any_stream_is_read_or_refused(events: list[Any]) -> None:
    """Events of any shape give a reply or a CallError."""
    stream = ChatStream(max_text_bytes=1000)
    raw = [value if value == "[DONE]" else json.dumps(value) for value in events]
    try:
        for text in raw:
            list(stream.feed(f"data: {text}\n\n".encode()))
        stream.finish().text.encode()
    except CallError:
        return
    assert "[DONE]" in raw


def feed(*values: Any, **options: Any) -> tuple[ChatAccumulator, list[str | None]]:
    answer = ChatAccumulator(max_text_bytes=1000, **options)
    raw = [value.encode() if isinstance(value, str) else dumped(value) for value in values]
    return answer, [answer.feed(ServerEvent("", data)) for data in raw]


def test_progress_is_told_from_silence() -> None:
    """Visible text, hidden progress and nothing are three different things."""
    _, pieces = feed(
        delta("", role="assistant"),
        delta(reasoning_content="hm"),
        delta("a"),
        delta(refusal="no"),
        usage_chunk(),
        {"object": "something.new"},
        {"choices": [{"index": 1, "delta": {"content": "other"}}]},
        "[DONE]",
    )
    assert pieces == [None, "", "a", "", None, None, None, None]


def test_the_last_usage_counts() -> None:
    """Usage in every chunk (vLLM) is cumulative: the last one stands."""
    first = {**delta("a"), "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    answer, _ = feed(first, delta(finish="stop"), usage_chunk(9, 2), "[DONE]")
    assert answer.finish().raw_usage == {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def test_what_follows_the_end_is_ignored() -> None:
    """After the end marker nothing counts, and a finish reason may come twice."""
    answer, _ = feed(delta("a"), delta(finish="stop"), delta(finish="stop"), "[DONE]", delta("b"), "[DONE]")
    assert answer.finish().text == "a"


def test_a_missing_end_marker() -> None:
    """It is an error, unless the target is known to send none; then the finish reason is the end."""
    for values in ((delta("a"),), (delta("a", finish="stop"),)):
        answer, _ = feed(*values)
        with pytest.raises(StreamBrokenError):
            answer.finish()
    answer, _ = feed(delta("a", finish="stop"), needs_done=False)
    assert answer.finish().text == "a"
    answer, _ = feed(delta("a"), needs_done=False)
    with pytest.raises(StreamBrokenError):
        answer.finish()


def test_an_error_event_by_name() -> None:
    """An event called ``error`` is one, whatever is in it."""
    answer = ChatAccumulator(max_text_bytes=10)
    with pytest.raises(CallError):
        answer.feed(ServerEvent("error", b'{"message": "x"}'))


@given(st.lists(st.text(max_size=5), max_size=8), st.data())
def test_a_stream_in_any_split_is_the_same_answer(texts: list[str], data: st.DataObject) -> None:
    """The text is the sum of its deltas, wherever the network cut it."""
    events = [*(delta(text) for text in texts), delta(finish="stop")]
    raw = b"".join(b"data: " + dumped(value) + b"\n\n" for value in events) + b"data: [DONE]"
    stream, at = ChatStream(max_text_bytes=1000), 0
    while at < len(raw):
        size = data.draw(st.integers(1, 200))
        list(stream.feed(raw[at : at + size]))
        at += size
    assert stream.finish().text == "".join(texts)
    assert stream.received_bytes == len("".join(texts).encode())
