"""Reading a chat-completions request as strictly as OpenAI reads it.

Each refusal carries the status, type, param and code that OpenAI answers with, so that a client's mistakes
show here and not first in production.
"""

from __future__ import annotations

from typing import Any

import orjson

from penstock_simulator.ask import Ask, JsonObject, Message, Request
from penstock_simulator.wire import openai_fields as fields
from penstock_simulator.wire.openai_fields import is_reasoning, refused, wrong_type

_KNOWN_NAMES = """
audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
metadata modalities model n parallel_tool_calls prediction presence_penalty prompt_cache_key
prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed
service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
web_search_options
"""
_KNOWN = frozenset(_KNOWN_NAMES.split())
_TOOL_TALK = frozenset({"tool", "assistant"})
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def read(request: Request) -> Ask:
    """The ask in *request*; RefusedError with OpenAI's error for anything that OpenAI would refuse."""
    return read_body(fields.json_object(request.body))


def read_body(body: JsonObject) -> Ask:
    """The ask in a request's *body*."""
    model = fields.model_name(body)
    unknown = next((key for key in body if key not in _KNOWN), None)
    if unknown is not None:
        raise refused(f"Unrecognized request argument supplied: {unknown}", None)
    messages = _messages(body)
    fields.check_sampling(body, model)
    stream, include_usage = _streaming(body)
    schema, json_mode = _response_format(body, messages)
    return Ask(
        wire="openai_chat",
        model=model,
        messages=messages,
        stream=stream,
        schema=schema,
        json_mode=json_mode,
        max_output_tokens=_output_cap(body, model),
        include_usage=include_usage,
        reasoning_tokens=fields.reasoning_tokens(body.get("reasoning_effort"), model, "reasoning_effort"),
        cache_key=str(body.get("prompt_cache_key") or ""),
        tools=fields.tools(body, nested=True) if "tools" in body else (),
        forced_tool=fields.forced_tool(body, nested=True) if "tool_choice" in body else None,
    )


def _messages(body: JsonObject) -> tuple[Message, ...]:
    messages = body.get("messages")
    if messages is None:
        raise refused("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise refused(message, "messages", "empty_array")
    read = tuple(_message(message, index) for index, message in enumerate(messages))
    if any(message.role in _TOOL_TALK for message in read):
        _check_tool_turns(messages)
    return read


def _check_tool_turns(messages: list[JsonObject]) -> None:
    """Every tool call is answered right after it, and nothing is answered that was not called."""
    open_ids: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                text = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                raise refused(f"Invalid parameter: {text}", f"messages.[{index}].role")
            open_ids.remove(message["tool_call_id"])
            continue
        _check_answered(open_ids, index)
        open_ids = [str(call.get("id")) for call in message.get("tool_calls") or [] if isinstance(call, dict)]
    _check_answered(open_ids, len(messages))


def _check_answered(open_ids: list[str], index: int) -> None:
    if open_ids:
        text = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_ids)}"
        )
        raise refused(text, f"messages.[{index}].role")


def _message(message: Any, index: int) -> Message:
    where = f"messages[{index}]"
    if not isinstance(message, dict):
        raise wrong_type(where, "an object", message)
    role = message.get("role")
    if role not in _ROLES:
        text = f"Invalid value: {role!r}. Supported values are: {', '.join(sorted(_ROLES))}."
        raise refused(text, f"{where}.role", "invalid_value")
    text = _text(message.get("content"), where, optional=role == "assistant")
    if message.get("tool_calls"):
        text += orjson.dumps(message["tool_calls"]).decode()
    return Message(role, text)


def _text(content: Any, where: str, *, optional: bool) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part(part, f"{where}.content[{index}]") for index, part in enumerate(content))
    if content is None and optional:
        return ""
    raise wrong_type(f"{where}.content", "one of a string or array of objects", content)


def _part(part: Any, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") not in {"text", "refusal"}:
        raise refused("Only text parts are simulated here.", where, "invalid_value")
    text = part.get(part["type"])
    if not isinstance(text, str):
        raise wrong_type(where, "a text part", text)
    return text


def _streaming(body: JsonObject) -> tuple[bool, bool]:
    stream = fields.flag(body, "stream")
    options = body.get("stream_options")
    if options is None:
        return bool(stream), not stream
    if not stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise refused(message, "stream_options")
    if not isinstance(options, dict):
        raise wrong_type("stream_options", "an object", options)
    return True, bool(options.get("include_usage"))


def _output_cap(body: JsonObject, model: str) -> int | None:
    old, new = fields.positive(body, "max_tokens"), fields.positive(body, "max_completion_tokens")
    if old is not None and is_reasoning(model):
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise refused(message, "max_tokens", "unsupported_parameter")
    if old is not None and new is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise refused(message, "max_tokens", "invalid_parameter_combination")
    return old if new is None else new


def _response_format(body: JsonObject, messages: tuple[Message, ...]) -> tuple[JsonObject | None, bool]:
    wanted = body.get("response_format")
    if wanted is None:
        return None, False
    if not isinstance(wanted, dict):
        raise wrong_type("response_format", "an object", wanted)
    kind = wanted.get("type")
    if kind == "text":
        return None, False
    if kind == "json_object":
        return None, _json_named(messages)
    if kind == "json_schema":
        return _json_schema(wanted.get("json_schema")), True
    message = f"Invalid value: {kind!r}. Supported values are: 'json_object', 'json_schema', and 'text'."
    raise refused(message, "response_format.type", "invalid_value")


def _json_named(messages: tuple[Message, ...]) -> bool:
    if any("json" in message.text.lower() for message in messages):
        return True
    message = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    raise refused(message, "messages")


def _json_schema(wanted: Any) -> JsonObject:
    where = "response_format.json_schema"
    if not isinstance(wanted, dict):
        raise refused(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    return fields.named_schema(wanted, where, "response_format")
