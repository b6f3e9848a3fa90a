"""Reading an Ollama chat request: lax about what it does not know, and silent about a prompt that is too long.

As in Ollama's server: of a conversation that does not fit into `num_ctx` the oldest turns are dropped, but
for the system's words and the last turn; what is still too long loses its middle's beginning: a few tokens at the
front stay, then comes the end. The count that is reported is the count after the cut.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from penstock_simulator.ask import Ask, JsonObject, Message, Problem, RefusedError, Request, Tool
from penstock_simulator.tokens import pieces

DEFAULT_CONTEXT_TOKENS = 4096
_KEPT_AT_FRONT = 4
_ROLES = ("system", "user", "assistant", "tool")
_THINKS = re.compile(r"qwen3|deepseek-r1|gpt-oss|magistral|reason", re.IGNORECASE)
_FRAME_TOKENS = 3
_THINKING_TOKENS = 128


def read(request: Request) -> Ask:
    """The ask in *request*; RefusedError for the little that Ollama refuses."""
    body = _json_object(request.body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise refused("model is required")
    options = body.get("options") or {}
    if not isinstance(options, dict):
        raise _wrong_type("options", "map[string]interface {}", options)
    schema, json_mode = _format(body.get("format"))
    cap = options.get("num_predict")
    window = options.get("num_ctx") or DEFAULT_CONTEXT_TOKENS
    return Ask(
        wire="ollama_chat",
        model=model,
        messages=_fitted(_messages(body.get("messages")), int(window)),
        stream=body.get("stream") is not False,
        schema=schema,
        json_mode=json_mode,
        max_output_tokens=cap if isinstance(cap, int) and cap > 0 else None,
        reasoning_tokens=_thinking(body.get("think"), model),
        tools=_tools(body.get("tools")),
        echo={"think": body.get("think") is not False},
    )


def refused(message: str, status: int = 400) -> RefusedError:
    """*status* with *message*."""
    return RefusedError(Problem(status, message))


def _json_object(data: bytes) -> JsonObject:
    if not data:
        raise refused("missing request body")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise refused(f"invalid character '{data[:1].decode('latin-1')}' looking for beginning of value") from None
    if not isinstance(body, dict):
        raise refused("json: cannot unmarshal value into Go value of type api.ChatRequest")
    return body


def _messages(messages: Any) -> tuple[Message, ...]:
    if not isinstance(messages, list):
        raise _wrong_type("messages", "[]api.Message", messages)
    if not messages:
        raise refused("a request without messages only loads a model; that is not simulated here")
    return tuple(_message(message) for message in messages)


def _message(message: Any) -> Message:
    if not isinstance(message, dict):
        raise _wrong_type("messages", "api.Message", message)
    role, content = str(message.get("role", "")).lower(), message.get("content") or ""
    if role not in _ROLES:
        raise refused(f"invalid role: {role}. Role must be one of [{', '.join(_ROLES)}]")
    if not isinstance(content, str):
        raise _wrong_type("messages.content", "string", content)
    called = orjson.dumps(message["tool_calls"]).decode() if message.get("tool_calls") else ""
    return Message(role, content + called)


def _fitted(messages: tuple[Message, ...], window: int) -> tuple[Message, ...]:
    """*messages* within *window* tokens."""
    if sum(len(message.text) + 2 * _FRAME_TOKENS for message in messages) < window:
        return messages
    sizes = {index: len(pieces(message.text)) + _FRAME_TOKENS + 1 for index, message in enumerate(messages)}
    kept = list(range(len(messages)))
    while sum(sizes[index] for index in kept) + _FRAME_TOKENS > window:
        oldest = next((index for index in kept[:-1] if messages[index].role != "system"), None)
        if oldest is None:
            break
        kept.remove(oldest)
    room = window - _FRAME_TOKENS - sum(sizes[index] for index in kept[:-1])
    return (*(messages[index] for index in kept[:-1]), _cut(messages[-1], room))


def _cut(message: Message, room: int) -> Message:
    parts = pieces(message.text)
    room = max(room - _FRAME_TOKENS - 1, _KEPT_AT_FRONT + 1)
    if len(parts) <= room:
        return message
    return Message(message.role, "".join([*parts[:_KEPT_AT_FRONT], *parts[len(parts) - room + _KEPT_AT_FRONT :]]))


def _format(wanted: Any) -> tuple[JsonObject | None, bool]:
    if wanted in (None, ""):
        return None, False
    if wanted == "json":
        return None, True
    if isinstance(wanted, dict):
        return wanted, True
    raise refused(f'invalid format: {orjson.dumps(wanted).decode()}; expected "json" or a valid JSON Schema object')


def _thinking(wanted: Any, model: str) -> int:
    thinks = _THINKS.search(model) is not None
    if wanted and not thinks:
        raise refused(f'"{model}" does not support thinking')
    return _THINKING_TOKENS if thinks and wanted is not False else 0


def _tools(offered: Any) -> tuple[Tool, ...]:
    if offered is None:
        return ()
    if not isinstance(offered, list):
        raise _wrong_type("tools", "api.Tools", offered)
    functions = [tool.get("function") or {} for tool in offered if isinstance(tool, dict)]
    return tuple(
        Tool(str(function.get("name")), orjson.dumps(function).decode(), function.get("parameters"))
        for function in functions
    )


def _wrong_type(field: str, expected: str, value: Any) -> RefusedError:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    got = names.get(type(value), "null")
    return refused(f"json: cannot unmarshal {got} into Go struct field ChatRequest.{field} of type {expected}")
