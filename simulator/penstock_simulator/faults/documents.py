"""Faults of the documents around the text: usage, choices, the order and kind of a stream's events."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from penstock_simulator.ask import JsonObject
from penstock_simulator.faults.kinds import Documents, Params

_OUTPUT_NAME = re.compile("completion|output|candidates|total", re.IGNORECASE)


def usage_missing(_params: Params, documents: Documents) -> Documents:
    """No token counts anywhere; a stream loses its usage event."""
    key = documents.usage_key
    kept = [item for item in documents.items if not (item.get(key) and item.get("choices") == [])]
    documents.items = [{name: value for name, value in item.items() if name != key} for item in kept]
    return documents


def usage_negative(_params: Params, documents: Documents) -> Documents:
    """Counts below zero."""
    return _bend(documents, lambda count: -count - 5)


def usage_string(_params: Params, documents: Documents) -> Documents:
    """Counts as text."""
    return _bend(documents, str)


def usage_nan(_params: Params, documents: Documents) -> Documents:
    """Counts that are NaN, which is not JSON."""
    return _bend(documents, lambda _count: float("nan"))


def usage_huge(_params: Params, documents: Documents) -> Documents:
    """Counts of 1e30."""
    return _bend(documents, lambda _count: 1e30)


def usage_float(_params: Params, documents: Documents) -> Documents:
    """Counts with a fraction."""
    return _bend(documents, lambda count: count + 0.5)


def usage_null(_params: Params, documents: Documents) -> Documents:
    """Counts that are null."""
    return _bend(documents, lambda _count: None)


def usage_over(params: Params, documents: Documents) -> Documents:
    """More output than the cap allows and the text can have; the total goes along."""
    extra = (documents.ask.max_output_tokens or 1000) * params.integer("factor")
    for item in documents.items:
        usage = item.get(documents.usage_key)
        if usage:
            raised = {name for name in usage if _OUTPUT_NAME.search(name) and isinstance(usage[name], int)}
            item[documents.usage_key] = {**usage, **{name: usage[name] + extra for name in raised}}
    return documents


def usage_unequal(_params: Params, documents: Documents) -> Documents:
    """Parts that do not sum to the total."""
    for item in documents.items:
        usage = item.get(documents.usage_key)
        if usage:
            usage["total_tokens"] = usage.get("total_tokens", 0) + 17
    return documents


def usage_early(_params: Params, documents: Documents) -> Documents:
    """A first event with other, smaller counts than the last."""
    if documents.streamed and documents.items[-1].get(documents.usage_key):
        last = documents.items[-1][documents.usage_key]
        documents.items[0] = {**documents.items[0], documents.usage_key: _bent(last, lambda count: count // 2)}
    return documents


def no_choices(_params: Params, documents: Documents) -> Documents:
    """An empty list of choices."""
    documents.items = [{**item, "choices": []} for item in documents.items]
    return documents


def error_in_200(params: Params, documents: Documents) -> Documents:
    """An error object under a good status; in a stream as its only event."""
    documents.items = [_error(params)]
    documents.terminal_frame = b""
    return documents


def error_in_stream(params: Params, documents: Documents) -> Documents:
    """Part of the answer, then an error event; without a stream the error alone."""
    if not documents.streamed:
        return error_in_200(params, documents)
    half = max(len(documents.items) // 2, 1)
    documents.items = [*documents.items[:half], _error(params)]
    documents.terminal_frame = b""
    return documents


def no_done(_params: Params, documents: Documents) -> Documents:
    """All events, then an orderly end without the terminal marker."""
    documents.terminal_frame = b""
    return documents


def no_finish(_params: Params, documents: Documents) -> Documents:
    """A stream that ends in the middle: no stop reason, no usage, no terminal marker."""
    if documents.streamed:
        documents.items = documents.items[: max(len(documents.items) // 2, 1)]
        documents.terminal_frame = b""
    return documents


def duplicate_events(_params: Params, documents: Documents) -> Documents:
    """The terminal events twice: stop reason and usage come again."""
    if documents.streamed:
        documents.items = [*documents.items, *documents.items[-2:]]
    return documents


def swapped_events(_params: Params, documents: Documents) -> Documents:
    """The stop reason before the last content."""
    if documents.streamed and len(documents.items) > 3:
        place = _finish_place(documents.items)
        documents.items[place - 1], documents.items[place] = documents.items[place], documents.items[place - 1]
    return documents


def unknown_events(_params: Params, documents: Documents) -> Documents:
    """Events of a kind that nobody has heard of, between the others."""
    if documents.streamed:
        stranger = {"object": "chat.completion.telemetry", "choices": [], "payload": {"x": 1}}
        documents.items = [part for item in documents.items for part in (stranger, item)]
    return documents


def other_model(params: Params, documents: Documents) -> Documents:
    """Another model's name in the answer than was asked for."""
    documents.items = [{**item, "model": params.text("model")} for item in documents.items]
    return documents


def _error(params: Params) -> JsonObject:
    return {
        "error": {
            "message": "The server had an error while processing your request. Sorry about that!",
            "type": params.text("type"),
            "param": None,
            "code": params.text("code") or None,
        }
    }


def _finish_place(items: list[JsonObject]) -> int:
    for index, item in enumerate(items):
        if any(choice.get("finish_reason") for choice in item.get("choices", [])):
            return index
    return len(items) - 1


def _bend(documents: Documents, change: Callable[[int], Any]) -> Documents:
    key = documents.usage_key
    documents.items = [{**item, key: _bent(item[key], change)} if item.get(key) else item for item in documents.items]
    return documents


def _bent(value: Any, change: Callable[[int], Any]) -> Any:
    if isinstance(value, dict):
        return {name: _bent(item, change) for name, item in value.items()}
    return change(value) if isinstance(value, int) and not isinstance(value, bool) else value
