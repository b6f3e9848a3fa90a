"""Reading a Messages request as strictly as Anthropic reads it; its errors name the field first."""

from __future__ import annotations

import re
from typing import Any

import orjson

from penstock_simulator.ask import Ask, JsonObject, Message, Problem, RefusedError, Request
from penstock_simulator.wire import anthropic_schema
from penstock_simulator.wire.anthropic_tools import forced_tool, read_tools, strict_schemas
from penstock_simulator.wire.anthropic_turns import Breakpoints, block_text, read_turns

_KNOWN_NAMES = """
cache_control container context_management inference_geo max_tokens mcp_servers messages metadata model
output_config output_format service_tier stop_sequences stream system temperature thinking tool_choice tools
top_k top_p
"""
_KNOWN = frozenset(_KNOWN_NAMES.split())
_EFFORT_TOKENS = {"low": 64, "medium": 192, "high": 384, "xhigh": 768, "max": 1200}
_LEAST_BUDGET = 1024
_THINKS_BY_ITSELF = re.compile("reason", re.IGNORECASE)


def read(request: Request) -> Ask:
    """The ask in *request*; RefusedError with Anthropic's error for anything that Anthropic would refuse."""
    if "anthropic-version" not in request.headers:
        raise refused("anthropic-version: header is required")
    body = _json_object(request.body)
    model, cap = _required(body, "model", str), _required(body, "max_tokens", int)
    if cap < 1:
        raise refused("max_tokens: Input should be greater than or equal to 1")
    unknown = next((key for key in body if key not in _KNOWN), None)
    if unknown is not None:
        raise refused(f"{unknown}: Extra inputs are not permitted")
    breakpoints = Breakpoints()
    tools = read_tools(body, breakpoints)
    messages = (*_system(body, breakpoints), *read_turns(_required(body, "messages", list), breakpoints))
    breakpoints.check()
    schema = _schema(body)
    _check_schemas(body, schema)
    _check_sampling(body)
    _check_thoughts(body)
    if schema is not None and body["messages"][-1].get("role") == "assistant":
        raise refused("output_config.format: structured outputs cannot be used with a prefilled assistant message")
    return Ask(
        wire="anthropic_messages",
        model=model,
        messages=messages,
        stream=_flag(body, "stream"),
        schema=schema,
        json_mode=schema is not None,
        max_output_tokens=cap,
        reasoning_tokens=_thinking(body, model, cap),
        tools=tools,
        forced_tool=forced_tool(body),
    )


def refused(message: str) -> RefusedError:
    """400 `invalid_request_error`."""
    return RefusedError(Problem(400, message))


def _json_object(data: bytes) -> JsonObject:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise refused("The request body is not valid JSON: Expecting value: line 1 column 1 (char 0)") from None
    if not isinstance(body, dict):
        raise refused("Input should be a valid dictionary")
    return body


def _required(body: JsonObject, name: str, kind: type) -> Any:
    value = body.get(name)
    if value is None:
        raise refused(f"{name}: Field required")
    if not isinstance(value, kind) or isinstance(value, bool):
        words = {str: "a valid string", int: "a valid integer", list: "a valid list"}
        raise refused(f"{name}: Input should be {words[kind]}")
    return value


def _flag(body: JsonObject, name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise refused(f"{name}: Input should be a valid boolean")
    return value


def _system(body: JsonObject, breakpoints: Breakpoints) -> tuple[Message, ...]:
    system = body.get("system")
    if system is None or system == "":
        return ()
    if not isinstance(system, str | list):
        raise refused("system: Input should be a valid string")
    text, marks = block_text(system, "system", breakpoints)
    return (Message("system", text, marks),)


def _schema(body: JsonObject) -> JsonObject | None:
    """The schema in `output_config.format`, or in the older `output_format`."""
    config = body.get("output_config") or {}
    if not isinstance(config, dict):
        raise refused("output_config: Input should be a valid dictionary")
    unknown = next((key for key in config if key not in {"format", "effort", "task_budget"}), None)
    if unknown is not None:
        raise refused(f"output_config.{unknown}: Extra inputs are not permitted")
    wanted = config.get("format") or body.get("output_format")
    if wanted is None:
        return None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        raise refused("output_config.format.type: Input should be 'json_schema'")
    if not isinstance(wanted.get("schema"), dict):
        raise refused("output_config.format.schema: Field required")
    schema: JsonObject = wanted["schema"]
    return schema


def _check_schemas(body: JsonObject, schema: JsonObject | None) -> None:
    """All strict schemas together: the limits hold for their sum."""
    schemas = strict_schemas(body)
    if len(schemas) > anthropic_schema.MOST_STRICT_TOOLS:
        most = anthropic_schema.MOST_STRICT_TOOLS
        raise refused(
            f"Too many strict tools ({len(schemas)}). The maximum number of strict tools supported is {most}."
        )
    if schema is not None:
        schemas = [("output_config.format.schema", schema), *schemas]
    wrong = anthropic_schema.check(schemas)
    if wrong is not None:
        raise refused(wrong)


def _check_sampling(body: JsonObject) -> None:
    for key in ("temperature", "top_p"):
        value = body.get(key)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise refused(f"{key}: Input should be a valid number")
        if not 0 <= value <= 1:
            raise refused(f"{key}: range: 0..1")


def _check_thoughts(body: JsonObject) -> None:
    """A model that thinks wants its thoughts again, in front of the calls that came of them."""
    if (body.get("thinking") or {}).get("type") not in {"enabled", "adaptive"}:
        return
    for index, message in enumerate(body["messages"]):
        content = message["content"]
        kinds = [block.get("type") for block in content] if isinstance(content, list) else []
        if "tool_use" in kinds and kinds[0] not in {"thinking", "redacted_thinking"}:
            raise refused(
                f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`. "
                "When `thinking` is enabled, a final `assistant` message must start with a thinking block."
            )


def _thinking(body: JsonObject, model: str, cap: int) -> int:
    """How many tokens the model thinks: a part of the budget, or by effort when it decides for itself."""
    thinking = body.get("thinking")
    effort = (body.get("output_config") or {}).get("effort", "high")
    if effort not in _EFFORT_TOKENS:
        raise refused("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    if thinking is None:
        return _EFFORT_TOKENS[effort] if _THINKS_BY_ITSELF.search(model) else 0
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind not in {"enabled", "adaptive", "disabled"}:
        raise refused("thinking.type: Input should be 'enabled', 'adaptive' or 'disabled'")
    if kind == "disabled":
        return 0
    if body.get("temperature", 1) != 1:
        raise refused("`temperature` may only be set to 1 when thinking is enabled.")
    if kind == "adaptive":
        return _EFFORT_TOKENS[effort]
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < _LEAST_BUDGET:
        raise refused(f"thinking.enabled.budget_tokens: Input should be greater than or equal to {_LEAST_BUDGET}")
    if budget >= cap:
        raise refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    return min(_EFFORT_TOKENS[effort], budget)
