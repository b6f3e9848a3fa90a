"""Messages requests are refused as Anthropic refuses them, and read as they are meant."""

from typing import Any

import orjson
import pytest

from penstock_simulator.ask import Ask, RefusedError, Request
from penstock_simulator.wire.anthropic_request import read
from penstock_simulator.wire.anthropic_schema import check

VERSION = {"anthropic-version": "2023-06-01"}
HELLO = {"role": "user", "content": "Hello"}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALL = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"city": "Rome"}}],
}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]}


def _read(headers: dict[str, str] = VERSION, **fields: Any) -> Ask:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 2000, "messages": [HELLO], **fields}
    body = {name: value for name, value in body.items() if value is not None}
    return read(Request("POST", "/v1/messages", headers, orjson.dumps(body)))


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _format(schema: Any) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "schema": schema}}


def test_a_whole_request_is_read() -> None:
    """System first, blocks joined, breakpoints where they were put."""
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ask = _read(
        system=[{"type": "text", "text": "Be exact.", **mark}, {"type": "text", "text": " Be brief."}],
        tools=[{**TOOL, **mark}],
        stream=True,
        output_config=_format(_object(a={"type": "string"})),
    )
    assert [(message.role, message.text) for message in ask.messages] == [
        ("system", "Be exact. Be brief."),
        ("user", "Hello"),
    ]
    assert ask.messages[0].breakpoints == ((9, "1h"),)
    assert [(tool.name, tool.breakpoint) for tool in ask.tools] == [("look", "1h")]
    assert (ask.stream, ask.max_output_tokens, ask.json_mode) == (True, 2000, True)


def test_a_tool_result_is_a_turn_of_its_own() -> None:
    """The text beside it stays the user's."""
    both = {"role": "user", "content": [*RESULT["content"], {"type": "text", "text": "And now?"}]}
    ask = _read(messages=[HELLO, CALL, both], tools=[TOOL])
    assert [(message.role, message.text) for message in ask.messages][2:] == [("tool", "sunny"), ("user", "And now?")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"response_format": {}}, "response_format: Extra inputs are not permitted"),
        ({"messages": []}, "at least one message is required"),
        ({"messages": [{"role": "system", "content": "x"}]}, 'Unexpected role "system"'),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 'first message must use the "user" role'),
        ({"messages": [{"role": "user", "content": ""}]}, "must have non-empty content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            "text content blocks must be non",
        ),
        ({"messages": [HELLO, {"role": "assistant", "content": "So "}]}, "trailing whitespace"),
        ({"messages": [HELLO, CALL]}, "`tool_use` ids were found without `tool_result` blocks"),
        ({"messages": [HELLO, CALL, HELLO]}, "messages.1: `tool_use` ids were found without"),
        ({"messages": [HELLO, RESULT]}, "unexpected `tool_use_id` found"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"thinking": {"type": "enabled", "budget_tokens": 500}}, "greater than or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "must be greater than `thinking.budget_tokens`"),
        ({"thinking": {"type": "adaptive"}, "temperature": 0}, "may only be set to 1"),
        ({"tools": [{"name": "look"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [TOOL, TOOL]}, "Tool names must be unique"),
        ({"tool_choice": {"type": "any"}}, "while providing `tools`"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "no"}}, "not found in provided tools"),
        ({"output_config": {"format": {"type": "json_object"}}}, "Input should be 'json_schema'"),
        ({"output_config": _format({"type": "object"})}, "must be explicitly set to false"),
        (
            {"output_config": _format(_object()), "messages": [HELLO, {"role": "assistant", "content": "{"}]},
            "prefilled assistant message",
        ),
    ],
)
def test_wrong_requests_are_refused(fields: dict[str, Any], message: str) -> None:
    """With status 400, in words that begin with the field."""
    with pytest.raises(RefusedError) as refused:
        _read(**fields)
    assert refused.value.problem.status == 400
    assert message in refused.value.problem.message


def test_the_version_header_is_required() -> None:
    """As it is at Anthropic."""
    with pytest.raises(RefusedError, match="anthropic-version"):
        _read(headers={})


def test_breakpoints_are_at_most_four_and_the_long_ones_first() -> None:
    """Over tools, system and messages together."""

    def block(ttl: str) -> dict[str, Any]:
        return {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}}

    with pytest.raises(RefusedError, match=r"Found 5\."):
        _read(system=[block("5m")] * 5)
    with pytest.raises(RefusedError, match="must not come after"):
        _read(system=[block("5m"), block("1h")])


NODE = {"$ref": "#/$defs/node"}
LOOP = {**_object(next=NODE), "$defs": {"node": _object(next=NODE)}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (_object(a={}), "Empty schemas"),
        (_object(a={"type": "integer", "minimum": 1}), "For 'integer' type, properties minimum are not supported"),
        (_object(a={"type": "string", "maxLength": 9}), "For 'string' type, properties maxLength"),
        (_object(a={"type": "array", "items": {"type": "string"}, "minItems": 2}), "'minItems' values other than 0"),
        (_object(a={"oneOf": [{"type": "string"}]}), "'oneOf' is not supported"),
        (_object(a={"type": "string", "format": "phone"}), "String format 'phone'"),
        (LOOP, "Circular reference"),
        (_object(a={"$ref": "https://example.com/x"}), "External or unknown"),
    ],
)
def test_what_the_compiler_does_not_take(schema: dict[str, Any], message: str) -> None:
    """Though JSON Schema has it."""
    assert message in str(check([("output_config.format.schema", schema)]))


def test_a_schema_within_the_subset_is_taken() -> None:
    """With references, unions and one item at least."""
    schema = _object(
        a={"anyOf": [{"type": "string"}, {"type": "null"}]},
        b={"type": "array", "items": {"$ref": "#/$defs/kind"}, "minItems": 1},
    )
    assert check([("s", {**schema, "$defs": {"kind": {"type": "string", "enum": ["x", "y"]}}})]) is None


@pytest.mark.parametrize("over", [0, 1])
def test_the_limits_hold_for_the_sum_of_all_schemas(over: int) -> None:
    """24 optional parameters and 16 of a union type are taken, one more is not."""

    def optional(count: int) -> dict[str, Any]:
        return {**_object(**{f"p{number}": {"type": "string"} for number in range(count)}), "required": []}

    def unions(count: int) -> dict[str, Any]:
        return _object(**{f"p{number}": {"type": ["string", "null"]} for number in range(count)})

    assert (
        "too many optional parameters (25)" in str(check([("a", optional(12)), ("b", optional(12 + over))]))
    ) == bool(over)
    assert ("union types (17" in str(check([("a", unions(8)), ("b", unions(8 + over))]))) == bool(over)


def test_strict_tools_are_at_most_twenty() -> None:
    """Their schemas count; those of other tools do not."""
    tools = [{"name": f"t{number}", "input_schema": _object(), "strict": True} for number in range(21)]
    with pytest.raises(RefusedError, match=r"Too many strict tools \(21\)"):
        _read(tools=tools)
    assert len(_read(tools=tools[:20]).tools) == 20
    assert len(_read(tools=[{**tool, "strict": False} for tool in tools]).tools) == 21


def test_a_model_that_thinks_wants_its_thoughts_in_front_of_its_calls() -> None:
    """Without them the turns are refused; with them, and where it does not think, they are read."""
    thinks = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "tools": [TOOL]}
    with pytest.raises(RefusedError, match="Expected `thinking` or `redacted_thinking`, but found `tool_use`"):
        _read(messages=[HELLO, CALL, RESULT], **thinks)
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    carried = {**CALL, "content": [thought, *CALL["content"]]}
    assert [message.role for message in _read(messages=[HELLO, carried, RESULT], **thinks).messages][-1] == "tool"
    assert _read(messages=[HELLO, CALL, RESULT], tools=[TOOL]).forced_tool is None
    assert _read(messages=[HELLO], tools=[TOOL], tool_choice={"type": "none"}).forced_tool == ""
