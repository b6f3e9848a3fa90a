"""Reading a Responses request as strictly as OpenAI reads it."""

from __future__ import annotations

from typing import Any

import orjson

from penstock_simulator.ask import Ask, JsonObject, Message, Request
from penstock_simulator.wire import openai_fields as fields
from penstock_simulator.wire.openai_fields import refused, wrong_type

_KNOWN_NAMES = """
background conversation include input instructions max_output_tokens max_tool_calls metadata model
parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options prompt_cache_retention
reasoning safety_identifier service_tier store stream stream_options temperature text tool_choice tools
top_logprobs top_p truncation user
"""
_KNOWN = frozenset(_KNOWN_NAMES.split())
_MOVED = {"response_format": "text.format", "max_tokens": "max_output_tokens", "reasoning_effort": "reasoning.effort"}
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_TEXT_PARTS = frozenset({"input_text", "output_text", "refusal"})
_ECHOED = ("instructions", "max_output_tokens", "metadata", "temperature", "top_p", "text", "tools", "tool_choice")
_LEAST_CAP = 16


def read(request: Request) -> Ask:
    """The ask in *request*; RefusedError with OpenAI's error for anything that OpenAI would refuse."""
    body = fields.json_object(request.body)
    model = fields.model_name(body)
    _check_names(body)
    fields.check_sampling(body, model)
    if body.get("previous_response_id") is not None:
        message = f"Previous response with id '{body['previous_response_id']}' not found."
        raise refused(message, "previous_response_id", "previous_response_not_found")
    store = fields.flag(body, "store")
    background = bool(fields.flag(body, "background"))
    if background and store is False:
        raise refused("Background mode requires 'store' to be true.", "background", "unsupported_parameter")
    messages = _messages(body)
    schema, json_mode = _format(body, messages)
    reasoning = body.get("reasoning") or {}
    return Ask(
        wire="openai_responses",
        model=model,
        messages=messages,
        stream=bool(fields.flag(body, "stream")),
        schema=schema,
        json_mode=json_mode,
        max_output_tokens=fields.positive(body, "max_output_tokens", _LEAST_CAP),
        reasoning_tokens=fields.reasoning_tokens(reasoning.get("effort"), model, "reasoning.effort"),
        cache_key=str(body.get("prompt_cache_key") or ""),
        tools=fields.tools(body, nested=False),
        forced_tool=fields.forced_tool(body, nested=False),
        background=background,
        store=store is not False,
        echo={name: body[name] for name in _ECHOED if name in body},
    )


def _check_names(body: JsonObject) -> None:
    unknown = next((key for key in body if key not in _KNOWN), None)
    if unknown is None:
        return
    if unknown in _MOVED:
        message = f"Unsupported parameter: '{unknown}'. In the Responses API, this parameter is '{_MOVED[unknown]}'."
        raise refused(message, unknown, "unsupported_parameter")
    raise refused(f"Unknown parameter: '{unknown}'.", unknown, "unknown_parameter")


def _messages(body: JsonObject) -> tuple[Message, ...]:
    given, instructions = body.get("input"), body.get("instructions")
    if given is None:
        raise refused("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if instructions is not None and not isinstance(instructions, str):
        raise wrong_type("instructions", "a string", instructions)
    first = (Message("developer", instructions),) if instructions else ()
    if isinstance(given, str):
        return (*first, Message("user", given))
    if not isinstance(given, list):
        raise wrong_type("input", "one of a string or array of input items", given)
    messages = tuple(_item(item, f"input[{index}]") for index, item in enumerate(given))
    _check_outputs(given)
    return first + messages


def _item(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise wrong_type(where, "an object", item)
    kind = item.get("type", "message")
    if kind == "function_call_output":
        return Message("tool", _content(item.get("output"), f"{where}.output"))
    if kind in {"function_call", "reasoning"}:
        return Message("assistant", orjson.dumps(item).decode())
    if kind != "message":
        raise refused(f"Invalid value: {kind!r}.", f"{where}.type", "invalid_value")
    if item.get("role") not in _ROLES:
        text = f"Invalid value: {item.get('role')!r}. Supported values are: {', '.join(sorted(_ROLES))}."
        raise refused(text, f"{where}.role", "invalid_value")
    return Message(item["role"], _content(item.get("content"), f"{where}.content"))


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(where, "one of a string or array of objects", content)
    return "".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in _TEXT_PARTS:
        known = ", ".join(sorted(f"'{name}'" for name in _TEXT_PARTS))
        raise refused(f"Invalid value: {kind!r}. Supported values are: {known}.", f"{where}.type", "invalid_value")
    text = part.get("refusal" if kind == "refusal" else "text")
    if not isinstance(text, str):
        raise wrong_type(where, "a text part", text)
    return text


def _check_outputs(items: list[JsonObject]) -> None:
    """Every function call has its output, and every output its call."""
    open_ids: list[str] = []
    for index, item in enumerate(items):
        if item.get("type") == "function_call":
            open_ids.append(str(item.get("call_id")))
        elif item.get("type") == "function_call_output":
            if item.get("call_id") not in open_ids:
                text = f"No tool call found for function call output with call_id {item.get('call_id')}."
                raise refused(text, f"input[{index}]")
            open_ids.remove(item["call_id"])
    if open_ids:
        raise refused(f"No tool output found for function call {open_ids[0]}.", "input")


def _format(body: JsonObject, messages: tuple[Message, ...]) -> tuple[JsonObject | None, bool]:
    text = body.get("text")
    if text is not None and not isinstance(text, dict):
        raise wrong_type("text", "an object", text)
    wanted = (text or {}).get("format")
    if wanted is None:
        return None, False
    if not isinstance(wanted, dict):
        raise wrong_type("text.format", "an object", wanted)
    match wanted.get("type"):
        case "text":
            return None, False
        case "json_schema":
            return fields.named_schema(wanted, "text.format", "text.format.schema", "invalid_json_schema"), True
        case "json_object" if any("json" in message.text.lower() for message in messages):
            return None, True
        case "json_object":
            text = (
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                "'json_object'."
            )
            raise refused(text, "input")
    message = f"Invalid value: {wanted.get('type')!r}. Supported values are: 'json_object', 'json_schema', and 'text'."
    raise refused(message, "text.format.type", "invalid_value")
