"""OpenAI Responses: `POST /v1/responses`, whole, streamed, or in the background.

Facts from OpenAI's API reference: usage is `input_tokens` with cached ones inside and `output_tokens` with
reasoning inside; a cut or filtered answer has the status `incomplete` and says why; a refusal is a part of
the content; a stream is of named events with a `sequence_number` and ends with exactly one of
`response.completed`, `response.incomplete`, `response.failed`, `error`, without `[DONE]`. With `background`
the answer comes at once, with an id and nothing else: see `openai_kept` and `stored`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from penstock_simulator.ask import Answer, Ask, JsonObject, Problem, Request, ToolCall, Usage
from penstock_simulator.bill import BilledCall
from penstock_simulator.delivery import EVENTS, Framing
from penstock_simulator.tokens import portions
from penstock_simulator.wire import responses_request
from penstock_simulator.wire.openai_family import OpenAIFamily
from penstock_simulator.wire.shape import Shape

_FRAMING = replace(EVENTS, named=True)
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _hollow(document: JsonObject) -> JsonObject | None:
    if "response" in document:
        return {**document, "response": {**document["response"], "output": []}}
    return None if "type" in document else {**document, "output": []}


def _failed(document: JsonObject, error: JsonObject) -> JsonObject:
    """The answer as one that failed; the last event of a stream becomes `response.failed`."""
    response = document.get("response", document)
    told = {"code": error["code"], "message": error["message"]}
    failed = {**response, "status": "failed", "error": told, "output": [], "usage": None, "incomplete_details": None}
    return {**document, "type": "response.failed", "response": failed} if "response" in document else failed


SHAPE = Shape(
    usage_paths=(("usage",), ("response", "usage")),
    model_paths=(("model",), ("response", "model")),
    is_content=lambda event: str(event.get("type")).endswith(".delta"),
    is_finish=lambda event: event.get("type") in _ENDS,
    hollow=_hollow,
    stranger={"type": "response.telemetry", "sequence_number": 0, "payload": {"x": 1}},
    unmarked=lambda events: [event for event in events if event.get("type") not in _ENDS],
    early_usage=("response", "usage"),
    failure=_failed,
)


class OpenAIResponses(OpenAIFamily):
    """The wire format of OpenAI's Responses."""

    name = "openai_responses"
    shape = SHAPE
    too_long_param = "input"
    _paths = frozenset({"/v1/responses", "/responses"})

    def serves(self, method: str, path: str) -> bool:
        """Creating a response; what is done with stored ones is not a generation."""
        return method == "POST" and path in self._paths

    def read(self, request: Request) -> Ask:
        """See `responses_request.read`."""
        return responses_request.read(request)

    def response_id(self, digest: str) -> str | None:
        """`resp_` and the digest."""
        return "resp_" + digest

    def framing(self, _ask: Ask) -> Framing:
        """Named server-sent events."""
        return _FRAMING

    def whole(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> JsonObject:
        """One `response` object."""
        return _response(ask, answer, call, list(_items(answer, call)), _usage(usage))

    def stream(self, ask: Ask, answer: Answer, usage: Usage, call: BilledCall) -> list[JsonObject]:
        """Named events: created, in progress, each item with its parts, the end."""
        begun = {**_response(ask, answer, call, [], None), "status": "in_progress", "incomplete_details": None}
        whole = self.whole(ask, answer, usage, call)
        events: list[JsonObject] = [
            {"type": "response.created", "response": {**begun, "status": "queued"} if ask.background else begun},
            {"type": "response.in_progress", "response": begun},
        ]
        for index, item in enumerate(whole["output"]):
            events += _item_events(index, item)
        events.append({"type": f"response.{whole['status']}", "response": whole})
        return [{**event, "sequence_number": number} for number, event in enumerate(events)]

    def worded(self, problem: Problem) -> Problem:
        """As Chat Completions has it, but that a schema stands elsewhere and has a code."""
        if problem.kind == "schema":
            problem = replace(problem, param="text.format.schema", code="invalid_json_schema")
        return super().worded(problem)

    def error_event(self, problem: Problem) -> JsonObject:
        """An `error` event; inside a response that failed its code and message."""
        code = problem.code or problem.type
        return {"type": "error", "code": code, "message": problem.message, "param": None, "sequence_number": 0}


def _response(
    ask: Ask, answer: Answer, call: BilledCall, output: list[JsonObject], usage: JsonObject | None
) -> JsonObject:
    reason = _REASONS.get(answer.finish)
    created_at = call.started_at_ms // 1000
    return {
        "id": call.response_id,
        "object": "response",
        "created_at": created_at,
        "status": "incomplete" if reason else "completed",
        "background": ask.background,
        "completed_at": None if reason else created_at,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "max_output_tokens": None,
        "model": ask.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": "default",
        "store": ask.store,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "metadata": {},
        **(ask.echo or {}),
    }


def _items(answer: Answer, call: BilledCall) -> Iterator[JsonObject]:
    tail = str(call.response_id).removeprefix("resp_")
    if answer.reasoning_tokens:
        yield {"id": f"rs_{tail}", "type": "reasoning", "summary": []}
    for index, tool_call in enumerate(answer.tool_calls):
        yield _function_call(tool_call, tail, index)
    part = _part(answer)
    if part is not None:
        status = "incomplete" if answer.finish in _REASONS else "completed"
        yield {"id": f"msg_{tail}", "type": "message", "status": status, "role": "assistant", "content": [part]}


def _function_call(tool_call: ToolCall, tail: str, index: int) -> JsonObject:
    return {
        "id": f"fc_{tail}{index}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{tail[:22]}{index:02}",
        "name": tool_call.name,
        "arguments": tool_call.arguments,
    }


def _part(answer: Answer) -> JsonObject | None:
    if answer.refusal is not None:
        return {"type": "refusal", "refusal": answer.refusal}
    if answer.content is None or (not answer.content and answer.finish == "length"):
        return None
    return {"type": "output_text", "text": answer.content, "annotations": [], "logprobs": []}


def _item_events(index: int, item: JsonObject) -> Iterator[JsonObject]:
    place = {"output_index": index, "item_id": item["id"]}
    opened = {**item, "status": "in_progress"} if "status" in item else item
    match item["type"]:
        case "message":
            yield {"type": "response.output_item.added", "output_index": index, "item": {**opened, "content": []}}
            yield from _part_events({**place, "content_index": 0}, item["content"][0])
        case "function_call":
            yield {"type": "response.output_item.added", "output_index": index, "item": {**opened, "arguments": ""}}
            kind = "response.function_call_arguments"
            yield from ({"type": f"{kind}.delta", **place, "delta": part} for part in portions(item["arguments"]))
            yield {"type": f"{kind}.done", **place, "arguments": item["arguments"]}
        case _:
            yield {"type": "response.output_item.added", "output_index": index, "item": opened}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(place: dict[str, Any], part: JsonObject) -> Iterator[JsonObject]:
    key = "refusal" if part["type"] == "refusal" else "text"
    kind = "response.refusal" if key == "refusal" else "response.output_text"
    yield {"type": "response.content_part.added", **place, "part": {**part, key: ""}}
    yield from ({"type": f"{kind}.delta", **place, "delta": delta} for delta in portions(part[key]))
    yield {"type": f"{kind}.done", **place, key: part[key]}
    yield {"type": "response.content_part.done", **place, "part": part}


def _usage(usage: Usage) -> JsonObject:
    details = {"cached_tokens": usage.cached_input_tokens}
    if usage.cache_write_tokens:
        details["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": details,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
