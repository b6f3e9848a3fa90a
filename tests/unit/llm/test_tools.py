"""Tools in the wire formats that have them: what is offered, what is read, what goes back."""

import json
from typing import Any

import pytest

from penstock_worker.llm.client import FAMILIES
from penstock_worker.llm.family import Reply
from penstock_worker.llm.port import CallRequest, StopReason, Target, ToolCall, ToolSpec, Turn
from tests.support.provider import completion, delta, dumped

PARAMETERS = {
    "type": "object",
    "properties": {"order_id": {"type": "string", "maxLength": 9}, "note": {"type": "string"}},
    "required": ["order_id"],
}
SPEC = ToolSpec("lookup_order", "Find an order.", PARAMETERS)
CALLS = (ToolCall("call_a", "lookup_order", '{"order_id":"7"}'), ToolCall("call_b", "lookup_order", "not json"))
ROUND = (
    Turn("assistant", "", CALLS),
    Turn("tool", "shipped", call_id="call_a"),
    Turn("tool", "bad arguments", call_id="call_b", failed=True),
)
WITH_TOOLS = sorted(kind for kind, family in FAMILIES.items() if family.takes_tools)


def target(kind: str, **options: Any) -> Target:
    return Target("t/m", kind, "m", "https://example.com", options=options)


def body(kind: str, *, options: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    asked = CallRequest(**{"system": "s", "user": "u", "max_output_tokens": 77, "tools": (SPEC,), **fields})
    return FAMILIES[kind].prepare(target(kind, **(options or {})), asked).body


def streamed(kind: str, frames: list[bytes]) -> Reply:
    stream = FAMILIES[kind].open_stream(target(kind))
    raw = b"".join(frames)
    for at in range(0, len(raw), 7):
        list(stream.feed(raw[at : at + 7]))
    return stream.finish()


def sse(*values: Any) -> list[bytes]:
    return [b"data: " + dumped(value) + b"\n\n" for value in values]


def test_the_formats_with_tools() -> None:
    """OpenAI's two, Azure's, Anthropic's; a request with tools to another is refused before it is sent."""
    assert WITH_TOOLS == ["anthropic", "azure", "openai", "openai-responses"]


@pytest.mark.parametrize("kind", WITH_TOOLS)
def test_no_tools_no_fields(kind: str) -> None:
    """A request without tools says nothing of them."""
    assert not {"tools", "tool_choice"} & body(kind, tools=()).keys()


def test_chat_offers_within_the_strict_subset() -> None:
    """An optional argument becomes nullable, a rule that strict mode lacks goes into the description."""
    function = body("openai")["tools"][0]["function"]
    assert (function["name"], function["description"], function["strict"]) == ("lookup_order", "Find an order.", True)
    assert function["parameters"]["required"] == ["order_id", "note"]
    assert "maxLength: 9" in function["parameters"]["properties"]["order_id"]["description"]


def test_a_server_that_takes_any_schema_gets_it_whole() -> None:
    """With ``strict_subset = false`` nothing is lowered and nothing is called strict."""
    function = body("openai", options={"strict_subset": False})["tools"][0]["function"]
    assert (function["parameters"], "strict" in function) == (PARAMETERS, False)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("openai", {"auto": "auto", "required": "required", "none": "none"}),
        ("openai-responses", {"auto": "auto", "required": "required", "none": "none"}),
        ("anthropic", {"auto": {"type": "auto"}, "required": {"type": "any"}, "none": {"type": "none"}}),
    ],
)
def test_the_choice(kind: str, said: dict[str, Any]) -> None:
    """Whether a tool may, must or must not be called is said in the provider's words."""
    for choice, words in said.items():
        assert body(kind, tool_choice=choice)["tool_choice"] == words


def test_chat_tells_results() -> None:
    """The calls again, then a message for each result."""
    messages = body("openai", turns=ROUND)["messages"][2:]
    assert [call["id"] for call in messages[0]["tool_calls"]] == ["call_a", "call_b"]
    assert messages[0]["content"] is None
    assert messages[1:] == [
        {"role": "tool", "tool_call_id": "call_a", "content": "shipped"},
        {"role": "tool", "tool_call_id": "call_b", "content": "bad arguments"},
    ]


def test_responses_tells_results() -> None:
    """Items of their own."""
    items = body("openai-responses", turns=ROUND)["input"][1:]
    assert [item["type"] for item in items] == ["function_call"] * 2 + ["function_call_output"] * 2
    assert (items[0]["arguments"], items[2]["output"]) == ('{"order_id":"7"}', "shipped")


def test_anthropic_tells_results_in_one_message() -> None:
    """With the thoughts in front of the calls, and arguments that are no object as none."""
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    turns = (Turn("assistant", "Let me look.", CALLS, carry=(thought,)), *ROUND[1:])
    assistant, user = body("anthropic", turns=turns)["messages"][1:]
    assert [block["type"] for block in assistant["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.get("input") for block in assistant["content"][2:]] == [{"order_id": "7"}, {}]
    assert [block["tool_use_id"] for block in user["content"]] == ["call_a", "call_b"]
    assert [block.get("is_error", False) for block in user["content"]] == [False, True]


def test_chat_reads_calls_whole_and_streamed() -> None:
    """Parallel calls whose pieces are mixed; a name that is repeated, and an object for a string, are understood."""
    rows = [
        {"id": "a", "type": "function", "function": {"name": "lookup_order", "arguments": '{"order_id":"7"}'}},
        {"id": "b", "type": "function", "function": {"name": "other", "arguments": {"x": 1}}},
    ]
    answer = completion(None, finish="tool_calls")
    answer["choices"][0]["message"]["tool_calls"] = rows
    whole = FAMILIES["openai"].read_answer(dumped(answer))

    def piece(index: int, **function: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, "id": "ab"[index], "function": function}])

    events = [
        piece(0, name="lookup_order", arguments=""),
        piece(1, name="other", arguments='{"x"'),
        piece(0, name="lookup_order", arguments='{"order_id"'),
        piece(1, arguments=":1}"),
        piece(0, arguments=':"7"}'),
        delta(finish="tool_calls"),
    ]
    come = streamed("openai", [*sse(*events), b"data: [DONE]\n\n"])
    assert whole.tool_calls == come.tool_calls
    assert come.tool_calls == (ToolCall("a", "lookup_order", '{"order_id":"7"}'), ToolCall("b", "other", '{"x":1}'))
    assert (whole.stop, come.stop, come.text) == (StopReason.TOOL_CALLS, StopReason.TOOL_CALLS, "")


def test_anthropic_reads_calls_whole_and_streamed() -> None:
    """Arguments in pieces, thoughts with their signature; a tool without arguments has none."""
    thought = {"type": "thinking", "thinking": "hm so", "signature": "sig"}
    content = [
        thought,
        {"type": "tool_use", "id": "a", "name": "lookup_order", "input": {"order_id": "7"}},
        {"type": "tool_use", "id": "b", "name": "now", "input": {}},
    ]
    top = {"type": "message", "id": "m", "model": "x", "content": content, "stop_reason": "tool_use", "usage": {}}
    whole = FAMILIES["anthropic"].read_answer(dumped(top))

    def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
        pieces = [{"type": "content_block_delta", "index": index, "delta": each} for each in deltas]
        opened = {"type": "content_block_start", "index": index, "content_block": start}
        return [opened, *pieces, {"type": "content_block_stop", "index": index}]

    events = [
        {"type": "message_start", "message": {"id": "m", "model": "x", "usage": {}}},
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "hm "},
            {"type": "thinking_delta", "thinking": "so"},
            {"type": "signature_delta", "signature": "sig"},
        ),
        *block(
            1,
            {"type": "tool_use", "id": "a", "name": "lookup_order", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"order_'},
            {"type": "input_json_delta", "partial_json": 'id":"7"}'},
        ),
        *block(2, {"type": "tool_use", "id": "b", "name": "now", "input": {}}),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    come = streamed("anthropic", sse(*events))
    assert whole.tool_calls == come.tool_calls
    assert [(call.id, call.name, json.loads(call.arguments)) for call in come.tool_calls] == [
        ("a", "lookup_order", {"order_id": "7"}),
        ("b", "now", {}),
    ]
    assert whole.carry == come.carry == (thought,)


def test_responses_reads_calls() -> None:
    """Items of the output, whole and in the last event of a stream."""
    item = {"type": "function_call", "call_id": "a", "name": "lookup_order", "arguments": "{}"}
    response = {"id": "r", "status": "completed", "output": [{"type": "reasoning"}, item], "usage": None}
    whole = FAMILIES["openai-responses"].read_answer(dumped(response))
    come = streamed("openai-responses", sse({"type": "response.completed", "response": response}))
    assert whole.tool_calls == come.tool_calls == (ToolCall("a", "lookup_order", "{}"),)
    assert whole.stop is come.stop is StopReason.TOOL_CALLS
