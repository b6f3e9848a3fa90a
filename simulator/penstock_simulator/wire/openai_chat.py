"""OpenAI Chat Completions: `POST /v1/chat/completions`, streamed or not, and `GET /v1/models`.

Fields and their meaning follow OpenAI's published API reference: `prompt_tokens` includes cached tokens,
`completion_tokens` includes reasoning tokens, a stream ends with `data: [DONE]`, and its usage comes in one
last event without choices, only when asked for.
"""

from __future__ import annotations

from typing import Any

from penstock_simulator.ask import Answer, Ask, JsonObject, Problem, RefusedError, Request, Usage
from penstock_simulator.bill import BilledCall
from penstock_simulator.tokens import pieces
from penstock_simulator.wire import openai_request

_PIECES_PER_EVENT = 4
_MOST_EVENTS = 2000
"""Megabytes come in larger pieces: a quarter of a million events take seconds to write."""
_FINGERPRINT = "fp_penstock"


class OpenAIChat:
    """The wire format of OpenAI's Chat Completions."""

    name = "openai_chat"
    usage_key = "usage"
    terminal_frame = b"data: [DONE]\n\n"
    stream_content_type = "text/event-stream; charset=utf-8"
    lists = frozenset({"/v1/models", "/models"})
    _paths = frozenset({"/v1/chat/completions", "/chat/completions"})

    def serves(self, method: str, path: str) -> bool:
        """Chat completions, with or without the `/v1` that base URLs usually end in."""
        return method == "POST" and path in self._paths

    def read(self, request: Request) -> Ask:
        """See `openai_request.read`."""
        return openai_request.read(request)

    def authorize(self, request: Request, api_key: str | None) -> None:
        """401 without a bearer token, and 401 `invalid_api_key` with another than *api_key*."""
        if api_key is None:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            message = "You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`."
            raise RefusedError(Problem(401, message))
        if token.strip() != api_key:
            message = f"Incorrect API key provided: {_masked(token.strip())}."
            raise RefusedError(Problem(401, message, code="invalid_api_key"))

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """One `chat.completion` object."""
        message: JsonObject = {
            "role": "assistant",
            "content": answer.content,
            "refusal": answer.refusal,
            "annotations": [],
        }
        return {
            **_head(ask, call, "chat.completion"),
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}],
            "usage": _usage(usage),
        }

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """`chat.completion.chunk` objects: role, content a few tokens at a time, finish, usage if asked for."""
        head = _head(ask, call, "chat.completion.chunk")
        if ask.include_usage:
            head["usage"] = None
        events = [_event(head, {"role": "assistant", "content": "", "refusal": None})]
        key, text = ("refusal", answer.refusal) if answer.refusal is not None else ("content", answer.content)
        parts = pieces(text or "")
        size = max(_PIECES_PER_EVENT, len(parts) // _MOST_EVENTS)
        events += [_event(head, {key: "".join(parts[start : start + size])}) for start in range(0, len(parts), size)]
        events.append(_event(head, {}, answer.finish))
        if ask.include_usage:
            events.append({**head, "choices": [], "usage": _usage(usage)})
        return events

    def frame(self, event: bytes, document: JsonObject) -> bytes:
        """An unnamed server-sent event."""
        return b"data: " + event + b"\n\n"

    def error(self, problem: Problem) -> JsonObject:
        """`{"error": {message, type, param, code}}`."""
        return {
            "error": {
                "message": problem.message,
                "type": problem.type,
                "param": problem.param,
                "code": problem.code,
            }
        }

    def models(self, names: list[str]) -> JsonObject:
        """The list of model objects."""
        data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "penstock"} for name in names]
        return {"object": "list", "data": data}


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


def _usage(usage: Usage) -> JsonObject:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _masked(token: str) -> str:
    return f"{token[:3]}{'*' * 8}{token[-4:]}" if len(token) > 12 else "*" * len(token)
