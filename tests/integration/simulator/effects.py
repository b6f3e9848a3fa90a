"""What every fault does to an honest answer, in words that hold for all families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.integration.simulator.families import CAP, Family, Heard, is_json

Effect = Callable[[Heard, Family], bool]
LABELS = {"traffic", "sport"}
STOP, LENGTH, FILTERED, TOOL = range(4)

REFUSED: dict[str, dict[str, tuple[int, str | None]]] = {
    "status": {
        "openai_chat": (500, "server_error"),
        "openai_responses": (500, "server_error"),
        "anthropic_messages": (500, "api_error"),
        "azure_openai": (500, "InternalServerError"),
        "ollama_chat": (500, None),
        "gemini": (500, "INTERNAL"),
    },
    "rate-limit": {
        "openai_chat": (429, "rate_limit_exceeded"),
        "openai_responses": (429, "rate_limit_exceeded"),
        "anthropic_messages": (429, "rate_limit_error"),
        "azure_openai": (429, "429"),
        "ollama_chat": (429, None),
        "gemini": (429, "RESOURCE_EXHAUSTED"),
    },
    "slow-down": {
        "openai_chat": (429, "slow_down"),
        "openai_responses": (429, "slow_down"),
        "anthropic_messages": (429, "rate_limit_error"),
        "azure_openai": (429, "429"),
        "ollama_chat": (429, None),
        "gemini": (429, "RESOURCE_EXHAUSTED"),
    },
    "quota": {
        "openai_chat": (429, "insufficient_quota"),
        "openai_responses": (429, "insufficient_quota"),
        "anthropic_messages": (429, "rate_limit_error"),
        "azure_openai": (403, "403"),
        "ollama_chat": (429, None),
        "gemini": (429, "RESOURCE_EXHAUSTED"),
    },
    "overloaded": {
        "openai_chat": (503, "server_is_overloaded"),
        "openai_responses": (503, "server_is_overloaded"),
        "anthropic_messages": (529, "overloaded_error"),
        "azure_openai": (503, "503"),
        "ollama_chat": (503, None),
        "gemini": (503, "UNAVAILABLE"),
    },
    "invalid-key": {
        "openai_chat": (401, "invalid_api_key"),
        "openai_responses": (401, "invalid_api_key"),
        "anthropic_messages": (401, "authentication_error"),
        "azure_openai": (401, "401"),
        "ollama_chat": (401, None),
        "gemini": (400, "INVALID_ARGUMENT"),
    },
    "model-not-found": {
        "openai_chat": (404, "model_not_found"),
        "openai_responses": (404, "model_not_found"),
        "anthropic_messages": (404, "not_found_error"),
        "azure_openai": (404, "DeploymentNotFound"),
        "ollama_chat": (404, None),
        "gemini": (404, "NOT_FOUND"),
    },
    "context-length": {
        "openai_chat": (400, "context_length_exceeded"),
        "openai_responses": (400, "context_length_exceeded"),
        "anthropic_messages": (400, "invalid_request_error"),
        "azure_openai": (400, "context_length_exceeded"),
        "ollama_chat": (400, None),
        "gemini": (400, "INVALID_ARGUMENT"),
    },
    "schema-unsupported": {
        "openai_chat": (400, "invalid_request_error"),
        "openai_responses": (400, "invalid_json_schema"),
        "anthropic_messages": (400, "invalid_request_error"),
        "azure_openai": (400, "invalid_request_error"),
        "ollama_chat": (500, None),
        "gemini": (400, "INVALID_ARGUMENT"),
    },
    "content-policy": {
        "openai_chat": (400, "invalid_prompt"),
        "openai_responses": (400, "invalid_prompt"),
        "anthropic_messages": (400, "invalid_request_error"),
        "azure_openai": (400, "content_filter"),
        "ollama_chat": (400, None),
        "gemini": (200, "PROHIBITED_CONTENT"),
    },
}
"""The status and the code, type or status name of each family."""


def honest(heard: Heard, family: Family) -> bool:
    """The whole answer, well ended, with counts."""
    counted = heard.usage is not None and all(isinstance(heard.usage[name], int) for name in family.counts if name)
    return heard.answer["label"] in LABELS and heard.finish == family.finishes[STOP] and heard.done and counted


def _ends(heard: Heard, family: Family, how: int) -> bool:
    return heard.finish == family.finishes[how] and heard.done


def _output(heard: Heard, family: Family) -> Any:
    return (heard.usage or {})[family.counts[1]]


def _refusal(heard: Heard, family: Family) -> bool:
    match family.name:
        case "anthropic_messages":
            return heard.finish == "refusal" and bool(heard.refusal)
        case "ollama_chat":  # it knows no refusals: the model says so in its text
            return not heard.is_json and heard.finish == "stop"
        case "gemini":
            return heard.text is None and heard.finish == "PROHIBITED_CONTENT"
    return not heard.text and bool(heard.refusal) and _ends(heard, family, STOP)


def _capped(heard: Heard, family: Family) -> bool:
    return _ends(heard, family, LENGTH) and _output(heard, family) == CAP


def _reasoning_only(heard: Heard, family: Family) -> bool:
    usage = heard.usage or {}
    outside = family.name == "gemini"  # thoughts are counted beside the candidates there
    counted = usage.get("thoughtsTokenCount") if outside else usage[family.counts[1]]
    return not heard.text and _ends(heard, family, LENGTH) and counted == CAP


def _label(change: Callable[[str], bool]) -> Effect:
    return lambda heard, _family: heard.answer["label"] not in LABELS and change(heard.answer["label"])


ANSWER: dict[str, Effect] = {
    "refusal": _refusal,
    "tool-call": lambda h, f: not h.text and _ends(h, f, TOOL) and h.tools == [("look_up", "{}")],
    "content-filter": lambda h, f: _ends(h, f, FILTERED) and not h.is_json and bool(h.text),
    "length": lambda h, f: _ends(h, f, LENGTH) and not h.is_json and bool(h.text),
    "reasoning-only": _reasoning_only,
    "empty": lambda h, f: not h.text and _ends(h, f, STOP),
    "null": lambda h, f: not h.text and not h.refusal and _ends(h, f, STOP),
    "whitespace": lambda h, f: (h.text or "").endswith("\n \t" * 100) and _capped(h, f),
    "repetition": lambda h, f: " and so on" * 50 in (h.text or "") and _capped(h, f),
    "fences": lambda h, f: (h.text or "").startswith("```json\n{") and _ends(h, f, STOP),
    "prose": lambda h, f: '{"summary"' in (h.text or "") and not h.is_json and _ends(h, f, STOP),
    "two-objects": lambda h, f: (h.text or "").count('{"summary"') == 2 and _ends(h, f, STOP),
    "bad-json": lambda h, f: "'summary'" in (h.text or "") and not h.is_json and _ends(h, f, STOP),
    "cut-json": lambda h, f: len(h.text or "") == 20 and _ends(h, f, STOP),
    "nan": lambda h, _f: ":NaN" in (h.text or "") and not h.is_json,
    "duplicate-keys": lambda h, _f: (h.text or "").count('"summary":') == 2 and h.is_json,
    "wrong-schema": lambda h, _f: "summary" not in h.answer,
    "wrong-type": lambda h, _f: isinstance(h.answer["summary"], list),
    "missing-key": lambda h, _f: set(h.answer) == {"label"},
    "extra-key": lambda h, _f: set(h.answer) > {"summary", "label"},
    "wrong-label": _label(lambda label: label == "not-a-label"),
    "label-case": _label(lambda label: label.lower() in LABELS),
    "label-dot": _label(lambda label: label.rstrip(".") in LABELS),
    "label-homoglyph": _label(lambda label: not label.isascii()),
    "cut-text": lambda h, f: not h.answer["summary"].endswith(".") and _ends(h, f, STOP),
    "copy-input": lambda h, _f: h.answer["summary"].startswith("The harbour") and "tunnel." in h.answer["summary"],
    "injected": lambda h, _f: "Ignore previous" in h.answer["summary"],
    "big-string": lambda h, _f: len(h.answer["summary"]) > 1_000_000,
    "deep-json": lambda h, _f: "[" * 1000 in (h.text or ""),
}


def _every_count(holds: Callable[[Any], bool]) -> Effect:
    def effect(heard: Heard, family: Family) -> bool:
        counts = [(heard.usage or {})[name] for name in family.counts if name]
        return all(map(holds, counts))

    return effect


def _unequal(heard: Heard, family: Family) -> bool:
    usage = heard.usage or {}
    if family.name == "anthropic_messages":  # there is no total, but one count that is the sum of two others
        return bool(usage["cache_creation"]["ephemeral_5m_input_tokens"] > usage["cache_creation_input_tokens"])
    if family.counts[2] is None:
        return honest(heard, family)
    spent, said, total = (usage[str(name)] for name in family.counts)
    return bool(total != spent + said)


def _over(heard: Heard, family: Family) -> bool:
    spent, said, total = family.counts
    usage = heard.usage or {}
    return usage[said] > 10 * CAP and (total is None or usage[total] == usage[spent] + usage[said])


def _hollow(heard: Heard, _family: Family) -> bool:
    return heard.status == 200 and not heard.text and not heard.tools


def _failed(heard: Heard, family: Family) -> bool:
    if family.name == "openai_responses":
        event = heard.events[-1]
        failed = event.get("response", event)
        return heard.finish == "failed" and failed["error"]["code"] == "server_error" and len(heard.events) == 1
    return heard.status == 200 and "error" in heard.events[-1] and len(heard.events) == 1


def _failed_within(heard: Heard, _family: Family) -> bool:
    last = heard.events[-1]
    return len(heard.events) > 2 and ("error" in last or last.get("type") == "error") and heard.finish is None


def _early(heard: Heard, family: Family) -> bool:
    first = heard.events[0]
    message = first.get("message") if family.name == "anthropic_messages" else None
    early = (first.get("response") or message or first).get("usage") or first.get("usageMetadata") or first
    said = family.counts[1]
    return bool(0 < early[said] < _output(heard, family))


def _twice(heard: Heard, family: Family) -> bool:
    ends = [event for event in heard.events if _is_end(event, family)]
    return len(ends) == 2 and heard.done


def _is_end(event: dict[str, Any], family: Family) -> bool:
    match family.name:
        case "openai_responses":
            return event.get("type") == "response.completed"
        case "anthropic_messages":
            return event.get("type") == "message_delta"
        case "ollama_chat":
            return bool(event.get("done"))
        case "gemini":
            return any("finishReason" in candidate for candidate in event.get("candidates", []))
    return any(choice.get("finish_reason") for choice in event.get("choices", []))


def _swapped(heard: Heard, family: Family) -> bool:
    end = next(index for index, event in enumerate(heard.events) if _is_end(event, family))
    says = [index for index, event in enumerate(heard.events) if _is_content(event, family)]
    return end < says[-1]


def _is_content(event: dict[str, Any], family: Family) -> bool:
    match family.name:
        case "openai_responses":
            return event.get("type") == "response.output_text.delta"
        case "anthropic_messages":
            return event.get("type") == "content_block_delta"
        case "ollama_chat":
            return bool(event.get("message", {}).get("content"))
        case "gemini":
            return any(candidate.get("content") for candidate in event.get("candidates", []))
    return any(choice["delta"].get("content") for choice in event.get("choices", []))


def _telemetry(heard: Heard, family: Family) -> bool:
    strangers = [event for event in heard.events if "telemetry" in str(event)]
    return len(strangers) == len(heard.events) / 2 > 2 and honest(heard, family)


DOCUMENT: dict[str, Effect] = {
    "usage-missing": lambda h, _f: h.usage is None and h.is_json,
    "usage-null": _every_count(lambda count: count is None),
    "usage-negative": _every_count(lambda count: count < 0),
    "usage-string": _every_count(lambda count: isinstance(count, str)),
    "usage-float": _every_count(lambda count: count % 1 == 0.5),
    "usage-nan": _every_count(lambda count: count != count),
    "usage-huge": _every_count(lambda count: count == 1e30),
    "usage-over": _over,
    "usage-unequal": _unequal,
    "no-choices": _hollow,
    "error-in-200": _failed,
    "other-model": lambda h, _f: h.model == "gpt-unknown",
}

STREAMED: dict[str, Effect] = {
    "usage-early": _early,
    "error-in-stream": _failed_within,
    "no-done": lambda h, _f: not h.done and h.is_json,
    "no-finish": lambda h, _f: not h.done and h.finish is None and not h.is_json,
    "duplicate-events": _twice,
    "swapped-events": _swapped,
    "unknown-events": _telemetry,
    "comments": honest,
    "crlf": honest,
    "split-bytes": honest,
    "slow-events": honest,
}
"""Faults of streams; a whole answer is as honest as ever under them."""


def _bad_utf8(heard: Heard, _family: Family) -> bool:
    return b"\xff\xfe" in heard.response.content


BYTES: dict[str, Effect] = {
    "html": lambda h, _f: h.status == 200 and h.response.text.startswith("<!DOCTYPE"),
    "empty-body": lambda h, _f: (h.status, h.response.content) == (200, b""),
    "content-type": lambda h, f: h.response.headers["content-type"] == "text/plain" and honest(h, f),
    "not-json": lambda h, _f: "{not json" in h.response.text or h.response.text.startswith("upstream connect error"),
    "cut-body": lambda h, f: len(h.response.content) == 100 and not h.done,
    "bad-utf8": _bad_utf8,
    "redirect": lambda h, _f: (h.status, h.response.headers["location"]) == (307, "http://127.0.0.1:9/"),
    "set-cookie": lambda h, f: "session" in h.response.cookies and honest(h, f),
    "header": lambda h, f: h.response.headers["x-extra"] == "1" and honest(h, f),
    "gzip-bomb": lambda h, _f: len(h.response.content) > 2_000_000,
    "delay": honest,
    "drip": honest,
    "huge-body": lambda h, _f: len(h.response.content) > 1_000_000 and not h.done,
    "endless-headers": lambda h, f: len(h.response.headers) > 400 and honest(h, f),
    "long-header": lambda h, f: len(h.response.headers["x-filler"]) == 32_768 and honest(h, f),
}

WHOLE_ONLY: dict[str, Effect] = {
    "trailing": lambda h, _f: h.response.content.startswith(b"{") and not is_json(h.response.content),
}
"""Faults that a stream is honest under."""

BROKEN: dict[str, type[httpx.HTTPError]] = {
    "hang": httpx.ReadTimeout,
    "hang-headers": httpx.ReadTimeout,
    "hang-middle": httpx.ReadTimeout,
    "cut-before": httpx.ReadError,
    "cut-lost": httpx.ReadError,
    "cut-headers": httpx.ReadError,
    "cut-middle": httpx.ReadError,
    "cut-last": httpx.ReadError,
    "not-http": httpx.RemoteProtocolError,
}
SHORT = ("short-body",)
"""Breaks a whole answer; a stream, which has no length, is honest under it."""
ENDLESS = ("comments-only", "endless-events")

SMALLER = {
    "gzip-bomb": "mib=2",
    "big-string": "mib=2",
    "huge-body": "mib=2",
    "endless-headers": "count=500",
    "long-header": "kib=32",
    "drip": "bytes_per_s=100000",
    "delay": "seconds=10ms",
    "slow-events": "every=2ms",
    "comments-only": "every=1ms",
    "endless-events": "every=1ms",
}
"""The same faults in a size that a test can take."""


def spec(name: str) -> dict[str, str]:
    """The header that asks for the fault *name*."""
    return {"x-simulate": f"{name} {SMALLER.get(name, '')}".strip()}


def effect_of(name: str, stream: bool) -> Effect:
    """What *name* does to an answer that arrives."""
    for table in (ANSWER, DOCUMENT, BYTES):
        if name in table:
            return table[name]
    if name in STREAMED:
        return STREAMED[name] if stream else (_failed if name == "error-in-stream" else honest)
    return honest if stream else WHOLE_ONLY[name]
