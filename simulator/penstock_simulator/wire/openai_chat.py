"""OpenAI Chat Completions: `POST /v1/chat/completions`, streamed or not, and `GET /v1/models`.

Fields and their meaning follow OpenAI's published API reference: `prompt_tokens` includes cached tokens,
`completion_tokens` includes reasoning tokens, a stream ends with `data: [DONE]`, and its usage comes in one
last event without choices, only when asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock_simulator.ask import Answer, Ask, JsonObject, Request, ToolCall, Usage
from penstock_simulator.bill import BilledCall
from penstock_simulator.delivery import EVENTS, Framing
from penstock_simulator.tokens import portions
from penstock_simulator.wire import openai_request
from penstock_simulator.wire.openai_family import OpenAIFamily
from penstock_simulator.wire.shape import Shape

_FINGERPRINT = "fp_penstock"
FRAMING = replace(EVENTS, closing=b"data: [DONE]\n\n")


def _is_content(event: JsonObject) -> bool:
    deltas = [choice.get("delta", {}) for choice in event.get("choices", [])]
    return any(delta.get("content") or delta.get("refusal") or delta.get("tool_calls") for delta in deltas)


def _is_finish(event: JsonObject) -> bool:
    return any(choice.get("finish_reason") for choice in event.get("choices", []))


def _unmarked(events: list[JsonObject]) -> list[JsonObject]:
    """The mark is the closing line of the stream."""
    return events


SHAPE = Shape(
    usage_paths=(("usage",),),
    model_paths=(("model",),),
    is_content=_is_content,
    is_finish=_is_finish,
    hollow=lambda document: {**document, "choices": []},
    stranger={"object": "chat.completion.telemetry", "choices": [], "payload": {"x": 1}},
    unmarked=_unmarked,
)


class OpenAIChat(OpenAIFamily):
    """The wire format of OpenAI's Chat Completions."""

    name = "openai_chat"
    shape = SHAPE
    _paths = frozenset({"/v1/chat/completions", "/chat/completions"})

    def serves(self, method: str, path: str) -> bool:
        """Chat completions, with or without the `/v1` that base URLs usually end in."""
        return method == "POST" and path in self._paths

    def read(self, request: Request) -> Ask:
        """See `openai_request.read`."""
        return openai_request.read(request)

    def response_id(self, digest: str) -> str | None:
        """`chatcmpl-` and 24 hex digits."""
        return "chatcmpl-" + digest[:24]

    def framing(self, _ask: Ask) -> Framing:
        """Unnamed server-sent events, and `[DONE]`."""
        return FRAMING

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """One `chat.completion` object."""
        message: JsonObject = {
            "role": "assistant",
            "content": answer.content,
            "refusal": answer.refusal,
            "annotations": [],
        }
        if answer.tool_calls:
            message["tool_calls"] = [_tool_call(call, *numbered) for numbered in enumerate(answer.tool_calls)]
        return {
            **_head(ask, call, "chat.completion"),
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}],
            "usage": usage_object(usage),
        }

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """`chat.completion.chunk` objects: role, content a few tokens at a time, finish, usage if asked for."""
        head = _head(ask, call, "chat.completion.chunk")
        if ask.include_usage:
            head["usage"] = None
        events = [_event(head, {"role": "assistant", "content": "", "refusal": None})]
        key, text = ("refusal", answer.refusal) if answer.refusal is not None else ("content", answer.content)
        events += [_event(head, {key: part}) for part in portions(text or "")]
        for index, tool_call in enumerate(answer.tool_calls):
            events += [_event(head, {"tool_calls": [delta]}) for delta in _tool_deltas(call, index, tool_call)]
        events.append(_event(head, {}, answer.finish))
        if ask.include_usage:
            events.append({**head, "choices": [], "usage": usage_object(usage)})
        return events


def usage_object(usage: Usage) -> JsonObject:
    """Cached tokens within the prompt's, reasoning within the completion's."""
    details = {"cached_tokens": usage.cached_input_tokens, "audio_tokens": 0}
    if usage.cache_write_tokens:
        details["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _head(ask: Ask, call: BilledCall, kind: str) -> dict[str, Any]:
    return {
        "id": call.response_id,
        "object": kind,
        "created": call.started_at_ms // 1000,
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def _event(head: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> JsonObject:
    return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def _tool_call(call: BilledCall, index: int, tool_call: ToolCall) -> JsonObject:
    function = {"name": tool_call.name, "arguments": tool_call.arguments}
    return {"id": f"call_{call.id[-22:]}{index:02}", "type": "function", "function": function}


def _tool_deltas(call: BilledCall, index: int, tool_call: ToolCall) -> list[JsonObject]:
    opening = {"index": index, **_tool_call(call, index, ToolCall(tool_call.name, ""))}
    return [opening, *({"index": index, "function": {"arguments": part}} for part in portions(tool_call.arguments))]
