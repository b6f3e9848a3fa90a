"""Anthropic Messages: `POST /v1/messages`, streamed or not.

Facts from Anthropic's API reference: `input_tokens` leaves out what was read from or written to the cache;
`output_tokens` has thinking inside; a stream is of named events that end with `message_stop`, its usage is
cumulative and comes in `message_start` (with a placeholder for the output) and again in `message_delta`; an
`error` event may come after a 200; error bodies carry the request id; limits reset at an RFC 3339 time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from penstock_simulator.ask import Answer, Ask, JsonObject, Problem, RefusedError, Request, Usage, trouble
from penstock_simulator.bill import BilledCall
from penstock_simulator.delivery import EVENTS, Framing
from penstock_simulator.prefix_cache import CacheRule
from penstock_simulator.rate import Standing
from penstock_simulator.tokens import portions
from penstock_simulator.wire import anthropic_request
from penstock_simulator.wire.anthropic_words import SPEND_LIMIT, WORDS
from penstock_simulator.wire.shape import Shape
from penstock_simulator.wire.words import retry_after_headers, standings

_FRAMING = replace(EVENTS, named=True)
_STOPS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"}
_FLOORS = ((re.compile(r"haiku-4|opus-4-[5-9]"), 4096), (re.compile(r"haiku-3|3-haiku|3-5-haiku"), 2048))
"""The least tokens that are cached, by model; 1,024 for all others."""
_SIGNATURE = "c2ltdWxhdGVkLXRoaW5raW5n"


def _hollow(document: JsonObject) -> JsonObject | None:
    if document.get("type") == "message":
        return {**document, "content": []}
    return None if str(document.get("type")).startswith("content_block") else document


SHAPE = Shape(
    usage_paths=(("usage",), ("message", "usage")),
    model_paths=(("model",), ("message", "model")),
    is_content=lambda event: event.get("type") == "content_block_delta",
    is_finish=lambda event: event.get("type") == "message_delta",
    hollow=_hollow,
    stranger={"type": "telemetry", "payload": {"x": 1}},
    unmarked=lambda events: [event for event in events if event.get("type") != "message_stop"],
    early_usage=("message", "usage"),
    total_path=("cache_creation", "ephemeral_5m_input_tokens"),
)


class AnthropicMessages:
    """The wire format of Anthropic's Messages."""

    name = "anthropic_messages"
    shape = SHAPE
    known_models: tuple[str, ...] = ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5")

    def serves(self, method: str, path: str) -> bool:
        """Creating a message."""
        return method == "POST" and path == "/v1/messages"

    def owns(self, request: Request) -> bool:
        """Whatever comes with Anthropic's version header, and the paths below its own."""
        return "anthropic-version" in request.headers or request.path.startswith("/v1/messages")

    def lists(self, request: Request) -> bool:
        """`GET /v1/models` with Anthropic's version header."""
        return request.path == "/v1/models" and "anthropic-version" in request.headers

    def authorize(self, request: Request, api_key: str | None) -> None:
        """401 `authentication_error` without `x-api-key` or a bearer token, and with another than *api_key*."""
        if api_key is None:
            return
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = request.headers.get("x-api-key") or bearer
        if not given:
            raise RefusedError(Problem(401, "x-api-key header is required", "authentication_error"))
        if given != api_key:
            raise RefusedError(trouble("invalid_key"))

    def read(self, request: Request) -> Ask:
        """See `anthropic_request.read`."""
        return anthropic_request.read(request)

    def cache_rule(self, ask: Ask) -> CacheRule | None:
        """Only where the client says so, and for a price."""
        floor = next((floor for pattern, floor in _FLOORS if pattern.search(ask.model)), 1024)
        return CacheRule(floor, step=None, writes_cost=True)

    def too_long(self, ask: Ask, prompt_tokens: int, window: int) -> Problem | None:
        """400 for a prompt beyond the window, and in other words when only the output cap goes beyond it."""
        cap = ask.max_output_tokens or 0
        if prompt_tokens > window:
            return trouble("context_length", limit=window, prompt=prompt_tokens)
        if prompt_tokens + cap <= window:
            return None
        text = (
            f"input length and `max_tokens` exceed context limit: {prompt_tokens} + {cap} > {window}, decrease input "
            "length or `max_tokens` and try again"
        )
        return Problem(400, text)

    def response_id(self, digest: str) -> str | None:
        """`msg_01` and 22 hex digits."""
        return "msg_01" + digest[:22]

    def headers(self, call: BilledCall, _latency_s: float) -> dict[str, str]:
        """The request id and the organization."""
        return {
            "content-type": "application/json",
            "request-id": call.id,
            "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
            "server": "penstock-simulator",
        }

    def limit_headers(self, standings: Sequence[Standing]) -> dict[str, str]:
        """`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`; input tokens as tokens."""
        headers = {}
        for standing in standings:
            reset = datetime.fromtimestamp(standing.at_s + standing.full_in_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for name in {"requests": ("requests",), "tokens": ("tokens", "input-tokens")}[standing.name]:
                headers[f"anthropic-ratelimit-{name}-limit"] = str(standing.limit)
                headers[f"anthropic-ratelimit-{name}-remaining"] = str(standing.remaining)
                headers[f"anthropic-ratelimit-{name}-reset"] = reset
        return headers

    def framing(self, _ask: Ask) -> Framing:
        """Named server-sent events."""
        return _FRAMING

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """One `message` object."""
        message = _message(ask, call, _usage(usage), list(_blocks(answer, call)))
        return {**message, **_stop(answer)}

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """Named events: the message without content, each block in pieces, stop reason and usage, the end."""
        begun = _usage(replace(usage, visible_output_tokens=1, reasoning_tokens=0))
        events: list[JsonObject] = [{"type": "message_start", "message": _message(ask, call, begun, [])}]
        for index, block in enumerate(_blocks(answer, call)):
            events += _block_events(index, block)
        events.insert(2 if len(events) > 2 else 1, {"type": "ping"})
        events.append({"type": "message_delta", "delta": _stop(answer), "usage": _usage(usage)})
        return [*events, {"type": "message_stop"}]

    def worded(self, problem: Problem) -> Problem:
        """Anthropic's words; a spend limit comes without a time to wait."""
        if problem.kind is None:
            return problem
        waits = {name: value for name, value in retry_after_headers(problem).items() if name == "retry-after"}
        headers = {**self.limit_headers(standings(problem)), **waits, **problem.headers}
        return replace(WORDS.put(problem), headers=headers)

    def error(self, problem: Problem, request_id: str) -> JsonObject:
        """`{"type": "error", "error": {type, message}, "request_id"}`."""
        return {**self.error_event(problem), "request_id": request_id or None}

    def error_event(self, problem: Problem) -> JsonObject:
        """The same as an event, without a request id."""
        error: JsonObject = {"type": problem.type, "message": problem.message}
        if problem.code == SPEND_LIMIT:
            error["details"] = {"error_code": SPEND_LIMIT}
        return {"type": "error", "error": error}

    def models(self, names: Sequence[str]) -> JsonObject:
        """One page of model objects."""
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"} for name in names
        ]
        return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def _message(ask: Ask, call: BilledCall, usage: JsonObject, content: list[JsonObject]) -> JsonObject:
    return {
        "id": call.response_id,
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _stop(answer: Answer) -> JsonObject:
    refused = answer.refusal is not None or answer.finish == "content_filter"
    stop: JsonObject = {"stop_reason": "refusal" if refused else _STOPS[answer.finish], "stop_sequence": None}
    if refused:
        stop["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
    return stop


def _blocks(answer: Answer, call: BilledCall) -> Iterator[JsonObject]:
    if answer.reasoning_tokens:
        yield {"type": "thinking", "thinking": "Let me read the text first.", "signature": _SIGNATURE}
    text = answer.refusal if answer.refusal is not None else answer.content
    if text:
        yield {"type": "text", "text": text}
    for index, tool_call in enumerate(answer.tool_calls):
        id = f"toolu_01{call.id[-20:]}{index:02}"
        yield {"type": "tool_use", "id": id, "name": tool_call.name, "input": _input(tool_call.arguments)}


def _input(arguments: str) -> Any:
    """The arguments as an object; what is none is kept as text, as a model's mistake."""
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {"INVALID_JSON": arguments}


def _block_events(index: int, block: JsonObject) -> Iterator[JsonObject]:
    opened: JsonObject
    match block["type"]:
        case "text":
            opened, kind, key, value = {"type": "text", "text": ""}, "text_delta", "text", block["text"]
        case "thinking":
            opened, kind, key = {**block, "thinking": "", "signature": ""}, "thinking_delta", "thinking"
            value = block["thinking"]
        case _:
            value = orjson.dumps(block["input"]).decode()
            opened, kind, key = {**block, "input": {}}, "input_json_delta", "partial_json"
    yield {"type": "content_block_start", "index": index, "content_block": opened}
    deltas = [{"type": kind, key: part} for part in portions(value)]
    if "signature" in block:
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
    yield {"type": "content_block_stop", "index": index}


def _usage(usage: Usage) -> JsonObject:
    return {
        "input_tokens": usage.uncached_input_tokens,
        "cache_creation_input_tokens": usage.all_cache_write_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "service_tier": "standard",
    }
