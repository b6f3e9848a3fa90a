"""How to ask each family the same thing, and how to hear what it says, whole or streamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

TEXT = (
    "The harbour bridge closes for repairs on Monday. Engineers found cracks in two of its steel girders last week. "
    "The repairs will cost four million euros and take six months. Drivers are asked to use the tunnel."
)
USER = f"Summarize in at most 25 words.\n<<<9f8e7d6c>>>\n{TEXT}\n<<<9f8e7d6c>>>"
CAP = 300
SCHEMA = {
    "type": "object",
    "properties": {"summary": {"type": "string"}, "label": {"type": "string", "enum": ["traffic", "sport"]}},
    "required": ["summary", "label"],
    "additionalProperties": False,
}
_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
Json = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """An answer as a good client understands it."""

    response: httpx.Response
    events: list[Json]
    """The events of a stream, or the one document."""
    text: str | None
    finish: str | None
    usage: Json | None
    done: bool
    """Whether the end was marked as the family marks it."""
    tools: list[tuple[str, Any]] = field(default_factory=list)
    refusal: str | None = None
    model: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status_code

    @property
    def answer(self) -> Json:
        """The text as a JSON object."""
        made: Json = orjson.loads(self.text or "")
        return made

    @property
    def is_json(self) -> bool:
        """Whether the text is JSON."""
        return is_json(self.text or "")


@dataclass(frozen=True)
class Family:
    """One wire format."""

    name: str
    path: Callable[[bool], str]
    body: Callable[[bool], Json]
    tool: Json
    hear: Callable[[httpx.Response, list[Json]], Heard]
    finishes: tuple[str, str, str, str]
    """Its words for stop, cut at the cap, filtered, tool call."""
    counts: tuple[str, str, str | None]
    """Its names for input, output and total tokens."""
    headers: dict[str, str] = field(default_factory=dict)
    lines: bool = False
    """Whether a stream is of JSON lines, not of server-sent events."""

    def request(self, stream: bool, **fields: Any) -> Json:
        """Keyword arguments for `client.post`, but for the path."""
        return {"json": {**self.body(stream), **fields}, "headers": dict(self.headers)}

    def understand(self, response: httpx.Response, stream: bool) -> Heard:
        """What *response* says; JSON of Python's dialect is understood too."""
        if not stream:
            return self.hear(response, [_loads(response.text)])
        lines = response.text.splitlines()
        data = lines if self.lines else [line[6:] for line in lines if line.startswith("data: ")]
        return self.hear(response, [_loads(line) for line in data if line.strip() and line != "[DONE]"])


def is_json(text: str | bytes) -> bool:
    """Whether *text* is strict JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _loads(text: str) -> Json:
    try:
        made = json.loads(text)
    except ValueError:
        return {"not_json": text}
    return made if isinstance(made, dict) else {"not_json": text}


def _hear_chat(response: httpx.Response, events: list[Json]) -> Heard:
    choices = [choice for event in events for choice in event.get("choices") or []]
    says = [choice.get("message") or choice.get("delta") or {} for choice in choices]
    calls = [call["function"] for said in says for call in said.get("tool_calls") or []]
    names = [call["name"] for call in calls if "name" in call]
    return Heard(
        response,
        events,
        _joined([said.get("content") for said in says]),
        next((choice["finish_reason"] for choice in choices if choice.get("finish_reason")), None),
        next((event["usage"] for event in reversed(events) if event.get("usage")), None),
        "[DONE]" in response.text or bool(choices and "message" in choices[0]),
        [(names[0], "".join(call["arguments"] for call in calls))] if names else [],
        _joined([said.get("refusal") for said in says]),
        next((event["model"] for event in reversed(events) if "model" in event), None),
    )


def _hear_responses(response: httpx.Response, events: list[Json]) -> Heard:
    documents = [event.get("response", event) for event in events]
    ends = [document for document in documents if document.get("status") not in {None, "in_progress", "queued"}]
    ends = [document for document in ends if document.get("object") == "response"]
    last = ends[-1] if ends else {}
    parts = [part for item in last.get("output") or [] for part in item.get("content") or []]
    calls = [item for item in last.get("output") or [] if item["type"] == "function_call"]
    reason = (last.get("incomplete_details") or {}).get("reason")
    text = [event["delta"] for event in events if event.get("type") == "response.output_text.delta"]
    whole = [part["text"] for part in parts if part["type"] == "output_text"]
    return Heard(
        response,
        events,
        "".join(text) if text else (_joined(whole) if whole else None),
        f"{last.get('status')}" + (f":{reason}" if reason else "") if last else None,
        last.get("usage"),
        bool(last),
        [(call["name"], call["arguments"]) for call in calls],
        next((part["refusal"] for part in parts if part["type"] == "refusal"), None),
        last.get("model"),
    )


def _hear_anthropic(response: httpx.Response, events: list[Json]) -> Heard:
    whole = events[0] if events and events[0].get("type") == "message" else None
    blocks = [event["content_block"] for event in events if event.get("type") == "content_block_start"]
    deltas = [event["delta"] for event in events if event.get("type") == "content_block_delta"]
    if whole is not None:
        blocks = deltas = whole.get("content") or []
    texts = [delta["text"] for delta in deltas if delta["type"] in {"text", "text_delta"}]
    arguments = "".join(delta["partial_json"] for delta in deltas if delta["type"] == "input_json_delta")
    calls = [
        (block["name"], arguments or orjson.dumps(block["input"]).decode()) for block in blocks if "input" in block
    ]
    end = whole or next((event for event in events if event.get("type") == "message_delta"), {})
    stop = end.get("stop_reason") or end.get("delta", {}).get("stop_reason")
    started = events[0].get("message", {}) if events else {}
    return Heard(
        response,
        events,
        _joined(texts) if texts else None,
        stop,
        end.get("usage"),
        whole is not None or any(event.get("type") == "message_stop" for event in events),
        calls,
        _joined(texts) if stop == "refusal" else None,
        (whole or started).get("model"),
    )


def _hear_ollama(response: httpx.Response, events: list[Json]) -> Heard:
    messages = [event.get("message") or {} for event in events]
    ends = [event for event in events if event.get("done")]
    calls = [call["function"] for message in messages for call in message.get("tool_calls") or []]
    counts = {name: ends[-1][name] for name in ("prompt_eval_count", "eval_count") if name in ends[-1]} if ends else {}
    return Heard(
        response,
        events,
        _joined([message.get("content") for message in messages]),
        ends[0].get("done_reason") if ends else None,
        counts or None,
        bool(ends),
        [(call["name"], orjson.dumps(call["arguments"]).decode()) for call in calls],
        model=events[-1].get("model") if events else None,
    )


def _hear_gemini(response: httpx.Response, events: list[Json]) -> Heard:
    candidates = [candidate for event in events for candidate in event.get("candidates") or []]
    parts = [part for candidate in candidates for part in candidate.get("content", {}).get("parts") or []]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    texts = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    finish = next((candidate["finishReason"] for candidate in candidates if "finishReason" in candidate), None)
    return Heard(
        response,
        events,
        _joined(texts) if texts else None,
        finish,
        next((event["usageMetadata"] for event in reversed(events) if event.get("usageMetadata")), None),
        finish is not None,
        [(call["name"], orjson.dumps(call["args"]).decode()) for call in calls],
        model=events[-1].get("modelVersion") if events else None,
    )


def _joined(parts: list[str | None]) -> str | None:
    given = [part for part in parts if part is not None]
    return "".join(given) if given else None


def _chat_body(stream: bool) -> Json:
    shape = {"name": "answer", "strict": True, "schema": SCHEMA}
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "You are exact."}, {"role": "user", "content": USER}],
        "max_completion_tokens": CAP,
        "response_format": {"type": "json_schema", "json_schema": shape},
        **({"stream": True, "stream_options": {"include_usage": True}} if stream else {}),
    }


_FUNCTION = {"name": "look_up", "parameters": _NO_ARGUMENTS}
_CHAT_TOOL = {"type": "function", "function": _FUNCTION}
_CHAT_WORDS = ("stop", "length", "content_filter", "tool_calls")
_CHAT_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")

CHAT = Family(
    "openai_chat",
    lambda _stream: "/v1/chat/completions",
    _chat_body,
    _CHAT_TOOL,
    _hear_chat,
    _CHAT_WORDS,
    _CHAT_COUNTS,
)
RESPONSES = Family(
    "openai_responses",
    lambda _stream: "/v1/responses",
    lambda stream: {
        "model": "gpt-4o-mini",
        "instructions": "You are exact.",
        "input": [{"role": "user", "content": USER}],
        "max_output_tokens": CAP,
        "text": {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": SCHEMA}},
        "stream": stream,
    },
    {"type": "function", **_FUNCTION},
    _hear_responses,
    ("completed", "incomplete:max_output_tokens", "incomplete:content_filter", "completed"),
    ("input_tokens", "output_tokens", "total_tokens"),
)
ANTHROPIC = Family(
    "anthropic_messages",
    lambda _stream: "/v1/messages",
    lambda stream: {
        "model": "claude-sonnet-4-5",
        "system": "You are exact.",
        "messages": [{"role": "user", "content": USER}],
        "max_tokens": CAP,
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "stream": stream,
    },
    {"name": "look_up", "input_schema": _NO_ARGUMENTS},
    _hear_anthropic,
    ("end_turn", "max_tokens", "refusal", "tool_use"),
    ("input_tokens", "output_tokens", None),
    {"anthropic-version": "2023-06-01"},
)
AZURE = Family(
    "azure_openai",
    lambda _stream: "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21",
    _chat_body,
    _CHAT_TOOL,
    _hear_chat,
    _CHAT_WORDS,
    _CHAT_COUNTS,
)
OLLAMA = Family(
    "ollama_chat",
    lambda _stream: "/api/chat",
    lambda stream: {
        "model": "llama3.2",
        "messages": [{"role": "system", "content": "You are exact."}, {"role": "user", "content": USER}],
        "options": {"num_predict": CAP, "num_ctx": 8192},
        "format": SCHEMA,
        "stream": stream,
    },
    _CHAT_TOOL,
    _hear_ollama,
    ("stop", "length", "stop", "stop"),
    ("prompt_eval_count", "eval_count", None),
    lines=True,
)
GEMINI = Family(
    "gemini",
    lambda stream: (
        "/v1beta/models/gemini-2.0-flash:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
    ),
    lambda _stream: {
        "systemInstruction": {"parts": [{"text": "You are exact."}]},
        "contents": [{"role": "user", "parts": [{"text": USER}]}],
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "maxOutputTokens": CAP,
        },
    },
    {"functionDeclarations": [_FUNCTION]},
    _hear_gemini,
    ("STOP", "MAX_TOKENS", "SAFETY", "STOP"),
    ("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
)
FAMILIES = {family.name: family for family in (CHAT, RESPONSES, ANTHROPIC, AZURE, OLLAMA, GEMINI)}
