"""Answers in every provider's format, in the shapes that were recorded from them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.provider import completion, delta, dumped, usage_chunk

END = ("complete", "length", "refusal", "filter")
"""How an answer ends. Not every format has all of them."""

INPUT, CACHED, OUTPUT, REASONING = 40, 16, 9, 4
"""Tokens of every answer here, as disjoint buckets; a format that does not tell some apart adds them up."""


def sse(*values: Any, named: bool = False, last: bytes = b"") -> list[bytes]:
    """Each value as a server-sent event; *named* repeats its type as the event's name."""
    head = [f"event: {value['type']}\n".encode() if named else b"" for value in values]
    frames = [name + b"data: " + dumped(value) + b"\n\n" for name, value in zip(head, values, strict=True)]
    return [*frames, last] if last else frames


@dataclass(frozen=True)
class Format:
    """One provider's format."""

    kind: str
    media_type: str
    """Of a stream."""
    whole: Callable[[str, str], dict[str, Any]]
    """Text and end -> a whole body."""
    stream: Callable[[Sequence[str], str], list[bytes]]
    """Pieces and end -> the frames of a stream, of which the last is its end."""
    error: Callable[[str, str, str], dict[str, Any]]
    """Code, type and words -> the body of an error."""
    ends: tuple[str, ...] = END
    reasoning: bool = True
    """Whether reasoning is counted apart."""
    caching: bool = True
    """Whether cache reads are counted apart."""
    options: tuple[tuple[str, Any], ...] = ()


# OpenAI Chat Completions, and Azure

_CHAT_END = {"complete": "stop", "length": "length", "refusal": "stop", "filter": "content_filter"}
_CHAT_USAGE = {
    "prompt_tokens": INPUT + CACHED,
    "completion_tokens": OUTPUT + REASONING,
    "total_tokens": INPUT + CACHED + OUTPUT + REASONING,
    "prompt_tokens_details": {"cached_tokens": CACHED},
    "completion_tokens_details": {"reasoning_tokens": REASONING},
}


def _chat_whole(text: str, end: str) -> dict[str, Any]:
    body = completion(text, finish=_CHAT_END[end], usage=_CHAT_USAGE)
    if end == "refusal":
        body["choices"][0]["message"] |= {"content": None, "refusal": "I cannot."}
    return body


def _chat_stream(pieces: Sequence[str], end: str) -> list[bytes]:
    refused = [delta(refusal="I cannot.")] if end == "refusal" else []
    usage = {**usage_chunk(), "usage": _CHAT_USAGE}
    texts = [] if refused else [delta(piece) for piece in pieces]
    values = [delta("", role="assistant"), *texts, *refused, delta(finish=_CHAT_END[end]), usage]
    return sse(*values, last=b"data: [DONE]\n\n")


def _chat_error(code: str, type_: str, words: str) -> dict[str, Any]:
    return {"error": {"message": words, "type": type_ or None, "param": None, "code": code or None}}


def _azure_whole(text: str, end: str) -> dict[str, Any]:
    body = _chat_whole(text, end)
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    body["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": safe}]
    body["choices"][0]["content_filter_results"] = safe
    return body


def _azure_stream(pieces: Sequence[str], end: str) -> list[bytes]:
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    first = {"id": "", "model": "", "choices": [], "prompt_filter_results": [{"content_filter_results": safe}]}
    late = {"id": "", "choices": [{"index": 0, "finish_reason": None, "content_filter_results": safe}]}
    return [*sse(first), *_chat_stream(pieces, end)[:-1], *sse(late), b"data: [DONE]\n\n"]


# OpenAI Responses

_RESPONSES_USAGE = {
    "input_tokens": INPUT + CACHED,
    "input_tokens_details": {"cached_tokens": CACHED},
    "output_tokens": OUTPUT + REASONING,
    "output_tokens_details": {"reasoning_tokens": REASONING},
    "total_tokens": INPUT + CACHED + OUTPUT + REASONING,
}
_INCOMPLETE = {"length": "max_output_tokens", "filter": "content_filter"}


def responses_whole(text: str, end: str) -> dict[str, Any]:
    """A response object."""
    part = {"type": "refusal", "refusal": "I cannot."}
    if end != "refusal":
        part = {"type": "output_text", "text": text, "annotations": []}  # type: ignore[dict-item]
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": "resp_1",
        "object": "response",
        "status": "incomplete" if end in _INCOMPLETE else "completed",
        "incomplete_details": {"reason": _INCOMPLETE[end]} if end in _INCOMPLETE else None,
        "error": None,
        "model": "test-model-2025",
        "output": [{"type": "reasoning", "id": "rs_1", "summary": []}, message],
        "service_tier": "default",
        "usage": _RESPONSES_USAGE,
    }


def responses_events(pieces: Sequence[str], end: str) -> list[dict[str, Any]]:
    """The events of a streamed response, numbered."""
    whole = responses_whole("".join(pieces), end)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    kind = "response.refusal.delta" if end == "refusal" else "response.output_text.delta"
    texts = ["I cannot."] if end == "refusal" else pieces
    values: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "content": []}},
        *({"type": kind, "output_index": 1, "content_index": 0, "delta": text} for text in texts),
        {"type": "response.output_text.done", "output_index": 1, "text": "".join(pieces)},
        {"type": "response.incomplete" if end in _INCOMPLETE else "response.completed", "response": whole},
    ]
    return [{**value, "sequence_number": number} for number, value in enumerate(values)]


def _responses_stream(pieces: Sequence[str], end: str) -> list[bytes]:
    return sse(*responses_events(pieces, end), named=True)


# Anthropic

_ANTHROPIC_END = {"complete": "end_turn", "length": "max_tokens", "refusal": "refusal"}
_ANTHROPIC_INPUT = {"input_tokens": INPUT, "cache_creation_input_tokens": 0, "cache_read_input_tokens": CACHED}
_ANTHROPIC_OUTPUT = {
    "output_tokens": OUTPUT + REASONING,
    "output_tokens_details": {"thinking_tokens": REASONING},
}


def _anthropic_whole(text: str, end: str) -> dict[str, Any]:
    details = {"type": "refusal", "category": "cyber", "explanation": "I cannot."} if end == "refusal" else None
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "test-model-2025",
        "content": [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": text}],
        "stop_reason": _ANTHROPIC_END[end],
        "stop_sequence": None,
        "stop_details": details,
        "usage": {**_ANTHROPIC_INPUT, **_ANTHROPIC_OUTPUT, "service_tier": "standard"},
    }


def anthropic_events(pieces: Sequence[str], end: str) -> list[dict[str, Any]]:
    """The events of a streamed message."""
    whole = _anthropic_whole("", end)
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**_ANTHROPIC_INPUT, "output_tokens": 1}}
    stop = {name: whole[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    text = [{"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": p}} for p in pieces]
    return [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        *text,
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": stop, "usage": _ANTHROPIC_OUTPUT},
        {"type": "message_stop"},
    ]


def _anthropic_stream(pieces: Sequence[str], end: str) -> list[bytes]:
    return sse(*anthropic_events(pieces, end), named=True)


def _anthropic_error(code: str, type_: str, words: str) -> dict[str, Any]:
    details = {"details": {"error_code": code}} if code else {}
    return {"type": "error", "error": {"type": type_, "message": words, **details}, "request_id": "req_1"}


# Gemini

_GEMINI_END = {"complete": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}
GEMINI_USAGE = {
    "promptTokenCount": INPUT + CACHED,
    "cachedContentTokenCount": CACHED,
    "candidatesTokenCount": OUTPUT,
    "thoughtsTokenCount": REASONING,
    "totalTokenCount": INPUT + CACHED + OUTPUT + REASONING,
}


def gemini_document(*parts: dict[str, Any], finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    """One document, which is a whole answer or a piece of a streamed one."""
    candidate: dict[str, Any] = {"index": 0}
    candidate |= {"content": {"parts": list(parts), "role": "model"}} if parts else {}
    candidate |= {"finishReason": finish} if finish else {}
    counted = {"usageMetadata": usage} if usage else {}
    return {"candidates": [candidate], **counted, "modelVersion": "test-model-2025", "responseId": "r1"}


def _gemini_whole(text: str, end: str) -> dict[str, Any]:
    parts = ({"text": "hm", "thought": True}, {"text": text})
    return gemini_document(*parts, finish=_GEMINI_END[end], usage=GEMINI_USAGE)


def _gemini_stream(pieces: Sequence[str], end: str) -> list[bytes]:
    early = {"promptTokenCount": INPUT + CACHED, "totalTokenCount": INPUT + CACHED}
    last = gemini_document({"text": ""}, finish=_GEMINI_END[end], usage=GEMINI_USAGE)
    thought = gemini_document({"text": "hm", "thought": True}, usage=early)
    return sse(thought, *(gemini_document({"text": piece}, usage=early) for piece in pieces), last)


def _gemini_error(code: str, type_: str, words: str) -> dict[str, Any]:
    reason = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code}] if code else []
    return {"error": {"code": 0, "message": words, "status": type_, "details": reason}}


# Ollama

_OLLAMA_END = {"complete": "stop", "length": "length"}


def ollama_line(text: str, end: str | None = None, **fields: Any) -> dict[str, Any]:
    """One line, the last when it has an *end*."""
    message: dict[str, Any] = fields.pop("message", {})
    line = {"model": "test-model-2025", "created_at": "2025-01-01T00:00:00Z", "done": end is not None, **fields}
    line["message"] = {"role": "assistant", "content": text, **message}
    if end is None:
        return line
    counts = {"prompt_eval_count": INPUT + CACHED, "eval_count": OUTPUT + REASONING, "total_duration": 5_000_000}
    return {**line, "done_reason": _OLLAMA_END[end], **counts, **fields}


def _ollama_stream(pieces: Sequence[str], end: str) -> list[bytes]:
    lines = [ollama_line("", message={"thinking": "hm"}), *map(ollama_line, pieces), ollama_line("", end)]
    return [json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines]


FORMATS = {
    form.kind: form
    for form in (
        Format("openai", "text/event-stream", _chat_whole, _chat_stream, _chat_error),
        Format("azure", "text/event-stream", _azure_whole, _azure_stream, _chat_error),
        Format("openai-responses", "text/event-stream", responses_whole, _responses_stream, _chat_error),
        Format(
            "anthropic",
            "text/event-stream",
            _anthropic_whole,
            _anthropic_stream,
            _anthropic_error,
            ends=("complete", "length", "refusal"),
        ),
        Format(
            "gemini",
            "text/event-stream",
            _gemini_whole,
            _gemini_stream,
            _gemini_error,
            ends=("complete", "length", "filter"),
        ),
        Format(
            "ollama",
            "application/x-ndjson",
            ollama_line,
            _ollama_stream,
            lambda code, type_, words: {"error": words},
            ends=("complete", "length"),
            reasoning=False,
            caching=False,
        ),
    )
}
