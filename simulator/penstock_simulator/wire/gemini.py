"""Gemini: `generateContent` and `streamGenerateContent`, as server-sent events or as one JSON array.

Facts from Google's API reference: the key in `x-goog-api-key`; `promptTokenCount` has cached tokens inside,
`candidatesTokenCount` has no thoughts, `thoughtsTokenCount` stands beside it; every chunk carries the usage so
far; a stream ends with the chunk that has a `finishReason`; a blocked prompt is a 200 without candidates; how
long to wait stands in the error's details, not in a header.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import orjson

from penstock_simulator import tokens
from penstock_simulator.ask import Answer, Ask, JsonObject, Problem, RefusedError, Request, Usage, trouble
from penstock_simulator.bill import BilledCall
from penstock_simulator.delivery import ARRAY, EVENTS, Framing
from penstock_simulator.prefix_cache import CacheRule
from penstock_simulator.rate import Standing
from penstock_simulator.wire import gemini_request
from penstock_simulator.wire.gemini_errors import error_document
from penstock_simulator.wire.gemini_words import WORDS
from penstock_simulator.wire.shape import Shape

_FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "tool_calls": "STOP"}
_FRAMING = replace(EVENTS, content_type="text/event-stream", after=b"\r\n\r\n")
_CACHES = re.compile(r"gemini-(?:2\.5|[3-9])", re.IGNORECASE)
_NO_CALLERS = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API."
)


def _candidate(document: JsonObject) -> JsonObject:
    candidates = document.get("candidates") or [{}]
    found: JsonObject = candidates[0]
    return found


def _unmarked(events: list[JsonObject]) -> list[JsonObject]:
    last = {name: item for name, item in _candidate(events[-1]).items() if name != "finishReason"}
    return [*events[:-1], {**events[-1], "candidates": [last]}]


SHAPE = Shape(
    usage_paths=(("usageMetadata",),),
    model_paths=(("modelVersion",),),
    is_content=lambda event: bool(_candidate(event).get("content", {}).get("parts")),
    is_finish=lambda event: bool(_candidate(event).get("finishReason")),
    hollow=lambda document: {name: item for name, item in document.items() if name != "candidates"},
    stranger={"telemetry": {"x": 1}},
    unmarked=_unmarked,
    early_usage=("usageMetadata",),
    total_path=("totalTokenCount",),
)


class Gemini:
    """The wire format of Google's Gemini API."""

    name = "gemini"
    shape = SHAPE
    known_models: tuple[str, ...] = ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash")
    _lists = frozenset({"/v1beta/models"})

    def serves(self, method: str, path: str) -> bool:
        """Both methods of every model."""
        return method == "POST" and gemini_request.PATH.match(path) is not None

    def owns(self, request: Request) -> bool:
        """All below `/v1beta`."""
        return request.path.startswith("/v1beta")

    def lists(self, request: Request) -> bool:
        """`GET /v1beta/models`."""
        return request.path in self._lists

    def authorize(self, request: Request, api_key: str | None) -> None:
        """403 without a key, 400 `API_KEY_INVALID` with another than *api_key*; a key in the query counts too."""
        if api_key is None:
            return
        given = request.headers.get("x-goog-api-key") or parse_qs(request.query).get("key", [""])[0]
        if not given:
            raise RefusedError(Problem(403, _NO_CALLERS, "PERMISSION_DENIED"))
        if given != api_key:
            raise RefusedError(trouble("invalid_key"))

    def read(self, request: Request) -> Ask:
        """See `gemini_request.read`."""
        return gemini_request.read(request)

    def cache_rule(self, ask: Ask) -> CacheRule | None:
        """By itself from 2.5 on: from 1,024 tokens, with "pro" models from 4,096."""
        if _CACHES.search(ask.model) is None:
            return None
        return CacheRule(4096 if "pro" in ask.model else 1024)

    def too_long(self, _ask: Ask, prompt_tokens: int, window: int) -> Problem | None:
        """400 for a prompt beyond the window; the output has a window of its own."""
        return trouble("context_length", limit=window, prompt=prompt_tokens) if prompt_tokens > window else None

    def response_id(self, digest: str) -> str | None:
        """Sixteen bytes in URL-safe base64."""
        return base64.urlsafe_b64encode(digest.encode())[:22].decode()

    def headers(self, _call: BilledCall, latency_s: float) -> dict[str, str]:
        """The time it took and the tier; there is no request id."""
        return {
            "content-type": "application/json; charset=UTF-8",
            "server-timing": f"gfet4t7; dur={int(latency_s * 1000)}",
            "x-gemini-service-tier": "standard",
            "server": "penstock-simulator",
        }

    def limit_headers(self, _standings: Sequence[Standing]) -> dict[str, str]:
        """There are none."""
        return {}

    def framing(self, ask: Ask) -> Framing:
        """Events with `alt=sse`, else an array."""
        return _FRAMING if (ask.echo or {}).get("sse") else ARRAY

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """One `GenerateContentResponse`."""
        parts = [*_thoughts(ask, answer), *_parts(answer)]
        return _chunk(ask, call, parts, _usage(usage), _finish(answer), has_content=answer.content is not None)

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """The same in pieces, each with the usage so far; the last has the reason why it ended."""
        pieces = [*_thoughts(ask, answer), *_portions(answer)]
        events, said = [], 0
        for part in pieces[:-1]:
            said += 0 if part.get("thought") else tokens.count(part.get("text", ""))
            so_far = replace(usage, visible_output_tokens=min(said, usage.visible_output_tokens))
            events.append(_chunk(ask, call, [part], _usage(so_far), None))
        has_content = answer.content is not None
        ending = _chunk(ask, call, pieces[-1:], _usage(usage), _finish(answer), has_content=has_content)
        return [*events, ending]

    def worded(self, problem: Problem) -> Problem:
        """Google's words; the time to wait goes from the headers into the details."""
        headers = {name: value for name, value in problem.headers.items() if not name.startswith("retry-after")}
        return replace(WORDS.put(problem), headers=headers, facts={**problem.facts, "told": problem.headers})

    def error(self, problem: Problem, _request_id: str) -> JsonObject:
        """`{"error": {code, message, status, details}}`; a blocked prompt is an answer without candidates."""
        return error_document(problem)

    def error_event(self, problem: Problem) -> JsonObject:
        """The same as an event."""
        return error_document(problem)

    def models(self, names: Sequence[str]) -> JsonObject:
        """One page of model objects."""
        methods = ["generateContent", "countTokens"]
        return {
            "models": [
                {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods} for name in names
            ]
        }


def _chunk(
    ask: Ask,
    call: BilledCall,
    parts: Sequence[JsonObject],
    usage: JsonObject,
    finish: str | None,
    *,
    has_content: bool = True,
) -> JsonObject:
    candidate: JsonObject = {"index": 0}
    if parts:
        candidate["content"] = {"parts": list(parts), "role": "model"}
    elif has_content:
        candidate["content"] = {"role": "model"}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": ask.model,
        "responseId": call.response_id,
    }


def _finish(answer: Answer) -> str:
    return "PROHIBITED_CONTENT" if answer.refusal is not None else _FINISHES[answer.finish]


def _thoughts(ask: Ask, answer: Answer) -> list[JsonObject]:
    shown = answer.reasoning_tokens and (ask.echo or {}).get("thoughts")
    return [{"text": "Let me read the text first.", "thought": True}] if shown else []


def _parts(answer: Answer) -> list[JsonObject]:
    calls = [{"functionCall": {"name": call.name, "args": _args(call.arguments)}} for call in answer.tool_calls]
    return [*([{"text": answer.content}] if answer.content else []), *calls]


def _portions(answer: Answer) -> list[JsonObject]:
    texts: list[JsonObject] = [{"text": part} for part in tokens.portions(answer.content or "")]
    return [*texts, *(part for part in _parts(answer) if "functionCall" in part)]


def _args(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"text": text}


def _usage(usage: Usage) -> JsonObject:
    counts: JsonObject = {"promptTokenCount": usage.input_tokens}
    if usage.visible_output_tokens:
        counts["candidatesTokenCount"] = usage.visible_output_tokens
    counts["totalTokenCount"] = usage.input_tokens + usage.output_tokens
    if usage.cached_input_tokens:
        counts["cachedContentTokenCount"] = usage.cached_input_tokens
    if usage.reasoning_tokens:
        counts["thoughtsTokenCount"] = usage.reasoning_tokens
    counts["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.input_tokens}]
    return counts
