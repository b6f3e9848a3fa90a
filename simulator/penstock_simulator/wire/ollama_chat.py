"""Ollama's own chat: `POST /api/chat`, one JSON document a line, and `GET /api/tags`.

Facts from Ollama's API documentation: a stream unless `stream` is false; the last line has `done`,
`done_reason`, the counts and nanosecond durations; thinking stands in its own field and counts as output; an
`{"error": …}` line can follow a 200; there is no key. It refuses nothing as too long: see `ollama_request`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from penstock_simulator.ask import Answer, Ask, JsonObject, Problem, Request, Usage
from penstock_simulator.bill import BilledCall
from penstock_simulator.delivery import LINES, Framing
from penstock_simulator.prefix_cache import CacheRule
from penstock_simulator.rate import Standing
from penstock_simulator.tokens import portions
from penstock_simulator.wire import ollama_request
from penstock_simulator.wire.shape import Shape
from penstock_simulator.wire.words import Vocabulary, Words, retry_after_headers

_NS_PER_PROMPT_TOKEN, _NS_PER_TOKEN, _LOAD_NS = 250_000, 9_000_000, 40_000_000
_SERVER_ERROR = "llama runner process has terminated: exit status 2"
WORDS = Vocabulary(
    kinds={
        "rate_limit": Words(429, "too many requests, please try again later"),
        "slow_down": Words(429, "too many concurrent requests"),
        "quota": Words(429, "you have reached your usage limit, please upgrade to continue"),
        "overloaded": Words(503, "server busy, please try again.  maximum pending requests exceeded"),
        "invalid_key": Words(401, "unauthorized"),
        "model_not_found": Words(404, "model '{model}' not found"),
        "context_length": Words(400, "input length exceeds maximum context length"),
        "schema": Words(500, "failed to parse grammar"),
        "content_policy": Words(400, "the request was turned down"),
    },
    statuses={
        401: Words(401, "unauthorized"),
        404: Words(404, "model '{model}' not found"),
        429: Words(429, "too many requests, please try again later"),
        503: Words(503, "server busy, please try again.  maximum pending requests exceeded"),
    },
    other=Words(500, _SERVER_ERROR),
)

SHAPE = Shape(
    usage_paths=((),),
    usage_names=frozenset({"prompt_eval_count", "eval_count"}),
    model_paths=(("model",),),
    is_content=lambda event: bool(event.get("message", {}).get("content")),
    is_finish=lambda event: bool(event.get("done")),
    hollow=lambda document: {name: item for name, item in document.items() if name != "message"},
    stranger={"telemetry": {"x": 1}, "done": False},
    unmarked=lambda events: [event for event in events if not event.get("done")],
    total_path=None,
)


class OllamaChat:
    """The wire format of Ollama's own API."""

    name = "ollama_chat"
    shape = SHAPE
    known_models: tuple[str, ...] = ("llama3.2", "qwen3")

    def serves(self, method: str, path: str) -> bool:
        """The chat endpoint."""
        return method == "POST" and path == "/api/chat"

    def owns(self, request: Request) -> bool:
        """All below `/api`."""
        return request.path.startswith("/api/")

    def lists(self, request: Request) -> bool:
        """`GET /api/tags`."""
        return request.path == "/api/tags"

    def authorize(self, _request: Request, _api_key: str | None) -> None:
        """Everybody is let in: a server of one's own has no keys."""

    def read(self, request: Request) -> Ask:
        """See `ollama_request.read`."""
        return ollama_request.read(request)

    def cache_rule(self, _ask: Ask) -> CacheRule | None:
        """What the server keeps in its memory shows nowhere and costs nothing."""
        return None

    def too_long(self, _ask: Ask, _prompt_tokens: int, _window: int) -> Problem | None:
        """Nothing is: it was cut when it was read."""
        return None

    def response_id(self, _digest: str) -> str | None:
        """There is none."""
        return None

    def headers(self, _call: BilledCall, _latency_s: float) -> dict[str, str]:
        """The content type."""
        return {"content-type": "application/json; charset=utf-8"}

    def limit_headers(self, _standings: Sequence[Standing]) -> dict[str, str]:
        """There are none."""
        return {}

    def framing(self, _ask: Ask) -> Framing:
        """Lines."""
        return LINES

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """One document with the whole message."""
        message = {"role": "assistant", "content": _text(answer), **_thinking(answer, ask), **_calls(answer)}
        return {**_head(ask, call), "message": message, **_end(answer, usage)}

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """Thinking, then the text a few tokens at a time, then a line that says that it is done."""
        head = _head(ask, call)
        messages: list[JsonObject] = [{"content": "", "thinking": part} for part in _thinking(answer, ask).values()]
        messages += [{"content": part} for part in portions(_text(answer) or "")]
        if answer.tool_calls:
            messages.append({"content": "", **_calls(answer)})
        lines = [{**head, "message": {"role": "assistant", **message}, "done": False} for message in messages]
        return [*lines, {**head, "message": {"role": "assistant", "content": ""}, **_end(answer, usage)}]

    def worded(self, problem: Problem) -> Problem:
        """Ollama's words."""
        return replace(WORDS.put(problem), headers={**retry_after_headers(problem), **problem.headers})

    def error(self, problem: Problem, _request_id: str) -> JsonObject:
        """`{"error": message}`."""
        return {"error": problem.message}

    def error_event(self, problem: Problem) -> JsonObject:
        """The same as a line."""
        return {"error": problem.message}

    def models(self, names: Sequence[str]) -> JsonObject:
        """The models that are on this machine."""
        size = {"modified_at": "2025-01-01T00:00:00Z", "size": 2_000_000_000, "digest": "0" * 64}
        return {"models": [{"name": f"{name}:latest", "model": f"{name}:latest", **size} for name in names]}


def _head(ask: Ask, call: BilledCall) -> JsonObject:
    moment = datetime.fromtimestamp(call.started_at_ms / 1000, UTC)
    return {"model": ask.model, "created_at": moment.isoformat().replace("+00:00", "Z")}


def _text(answer: Answer) -> str | None:
    """What was said; a refusal is text like any other."""
    if answer.tool_calls:
        return ""
    return answer.refusal if answer.refusal is not None else answer.content


def _thinking(answer: Answer, ask: Ask) -> dict[str, str]:
    shown = answer.reasoning_tokens and (ask.echo or {}).get("think")
    return {"thinking": "Let me read the text first."} if shown else {}


def _calls(answer: Answer) -> JsonObject:
    calls = [{"function": {"name": call.name, "arguments": _arguments(call.arguments)}} for call in answer.tool_calls]
    return {"tool_calls": calls} if calls else {}


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"text": text}


def _end(answer: Answer, usage: Usage) -> JsonObject:
    prompt_ns, eval_ns = usage.input_tokens * _NS_PER_PROMPT_TOKEN, usage.output_tokens * _NS_PER_TOKEN
    return {
        "done": True,
        "done_reason": "length" if answer.finish == "length" else "stop",
        "total_duration": _LOAD_NS + prompt_ns + eval_ns,
        "load_duration": _LOAD_NS,
        "prompt_eval_count": usage.input_tokens,
        "prompt_eval_duration": prompt_ns,
        "eval_count": usage.output_tokens,
        "eval_duration": eval_ns,
    }
