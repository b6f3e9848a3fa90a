"""Reading a chat-completions request as strictly as OpenAI reads it.

Each refusal carries the status, type, param and code that OpenAI answers with, so that a client's mistakes
show here and not first in production.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from penstock_simulator.ask import Ask, JsonObject, Message, Problem, RefusedError, Request
from penstock_simulator.wire.openai_schema import check_strict

_KNOWN_NAMES = """
audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
metadata modalities model n parallel_tool_calls prediction presence_penalty prompt_cache_key
prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed
service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
web_search_options
"""
_KNOWN = frozenset(_KNOWN_NAMES.split())
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh"})
_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_REASONING_MODEL = re.compile(r"(?:^|[-/])(?:o[134]|gpt-5)(?:[-.]|$)|reason", re.IGNORECASE)
_BAD_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


def is_reasoning(model: str) -> bool:
    """Whether *model* thinks before it writes: the o-series, gpt-5 and names with "reason"."""
    return _REASONING_MODEL.search(model) is not None


def read(request: Request) -> Ask:
    """The ask in *request*; RefusedError with OpenAI's error for anything that OpenAI would refuse."""
    body = _json_object(request.body)
    model = _model(body)
    unknown = next((key for key in body if key not in _KNOWN), None)
    if unknown is not None:
        raise _refused(f"Unrecognized request argument supplied: {unknown}", None)
    messages = _messages(body)
    _check_sampling(body, model)
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
        reasoning_effort=_effort(body, model),
        cache_key=str(body.get("prompt_cache_key") or ""),
    )


def _json_object(data: bytes) -> JsonObject:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise _refused(_BAD_JSON, None) from None
    if not isinstance(body, dict):
        raise _refused(_BAD_JSON, None)
    return body


def _model(body: JsonObject) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise _refused("you must provide a model parameter", None)
    return model


def _messages(body: JsonObject) -> tuple[Message, ...]:
    messages = body.get("messages")
    if messages is None:
        raise _refused("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise _wrong_type("messages", "an array of objects", messages)
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise _refused(message, "messages", "empty_array")
    return tuple(_message(message, index) for index, message in enumerate(messages))


def _message(message: Any, index: int) -> Message:
    where = f"messages[{index}]"
    if not isinstance(message, dict):
        raise _wrong_type(where, "an object", message)
    role = message.get("role")
    if role not in _ROLES:
        text = f"Invalid value: {role!r}. Supported values are: {', '.join(sorted(_ROLES))}."
        raise _refused(text, f"{where}.role", "invalid_value")
    return Message(role, _text(message.get("content"), where, optional=role == "assistant"))


def _text(content: Any, where: str, *, optional: bool) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part(part, f"{where}.content[{index}]") for index, part in enumerate(content))
    if content is None and optional:
        return ""
    raise _wrong_type(f"{where}.content", "one of a string or array of objects", content)


def _part(part: Any, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") not in {"text", "refusal"}:
        raise _refused("Only text parts are simulated here.", where, "invalid_value")
    text = part.get(part["type"])
    if not isinstance(text, str):
        raise _wrong_type(where, "a text part", text)
    return text


def _streaming(body: JsonObject) -> tuple[bool, bool]:
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong_type("stream", "a boolean", stream)
    options = body.get("stream_options")
    if options is None:
        return bool(stream), not stream
    if not stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise _refused(message, "stream_options")
    if not isinstance(options, dict):
        raise _wrong_type("stream_options", "an object", options)
    return True, bool(options.get("include_usage"))


def _output_cap(body: JsonObject, model: str) -> int | None:
    caps = {key: body[key] for key in ("max_tokens", "max_completion_tokens") if body.get(key) is not None}
    for key, value in caps.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(key, "an integer", value)
        if value < 1:
            message = f"Invalid '{key}': integer below minimum value. Expected a value >= 1, but got {value} instead."
            raise _refused(message, key, "integer_below_min_value")
    if "max_tokens" in caps and is_reasoning(model):
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise _refused(message, "max_tokens", "unsupported_parameter")
    if len(caps) == 2:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise _refused(message, "max_tokens", "invalid_parameter_combination")
    return next(iter(caps.values()), None)


def _check_sampling(body: JsonObject, model: str) -> None:
    for key, low, high in (("temperature", 0, 2), ("top_p", 0, 1)):
        value = body.get(key)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong_type(key, "a decimal", value)
        if not low <= value <= high:
            raise _refused(f"Invalid '{key}': expected a value from {low} to {high}, but got {value}.", key)
        if is_reasoning(model) and value != 1:
            message = f"Unsupported value: '{key}' does not support {value} with this model. Only 1 is supported."
            raise _refused(message, key, "unsupported_value")
    choices = body.get("n")
    if choices not in (None, 1):
        raise _refused("Only one choice is simulated here.", "n", "invalid_value")


def _effort(body: JsonObject, model: str) -> str | None:
    effort = body.get("reasoning_effort")
    if effort is None:
        return "medium" if is_reasoning(model) else None
    if not is_reasoning(model):
        message = "Unrecognized request argument supplied: reasoning_effort"
        raise _refused(message, None)
    if effort not in _EFFORTS:
        raise _refused(f"Invalid value: {effort!r}.", "reasoning_effort", "invalid_value")
    return str(effort)


def _response_format(body: JsonObject, messages: tuple[Message, ...]) -> tuple[JsonObject | None, bool]:
    wanted = body.get("response_format")
    if wanted is None:
        return None, False
    if not isinstance(wanted, dict):
        raise _wrong_type("response_format", "an object", wanted)
    kind = wanted.get("type")
    if kind == "text":
        return None, False
    if kind == "json_object":
        return None, _json_named(messages)
    if kind == "json_schema":
        return _json_schema(wanted.get("json_schema")), True
    message = f"Invalid value: {kind!r}. Supported values are: 'json_object', 'json_schema', and 'text'."
    raise _refused(message, "response_format.type", "invalid_value")


def _json_named(messages: tuple[Message, ...]) -> bool:
    if any("json" in message.text.lower() for message in messages):
        return True
    message = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    raise _refused(message, "messages")


def _json_schema(wanted: Any) -> JsonObject:
    where = "response_format.json_schema"
    if not isinstance(wanted, dict):
        raise _refused(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    name, schema = wanted.get("name"), wanted.get("schema")
    if not isinstance(name, str):
        raise _refused(f"Missing required parameter: '{where}.name'.", f"{where}.name", "missing_required_parameter")
    if not _NAME.match(name):
        message = f"Invalid '{where}.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
        raise _refused(message, f"{where}.name", "invalid_value")
    if not isinstance(schema, dict):
        raise _refused(
            f"Missing required parameter: '{where}.schema'.", f"{where}.schema", "missing_required_parameter"
        )
    wrong = check_strict(schema) if wanted.get("strict") else None
    if wrong is not None:
        raise _refused(f"Invalid schema for response_format '{name}': {wrong}", "response_format")
    return schema


def _refused(message: str, param: str | None, code: str | None = None) -> RefusedError:
    return RefusedError(Problem(400, message, param=param, code=code))


def _wrong_type(param: str, expected: str, value: Any) -> RefusedError:
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    got = names.get(type(value), "null" if value is None else "an object")
    message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return _refused(message, param, "invalid_type")
