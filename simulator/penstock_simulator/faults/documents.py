"""Faults of the documents around the text: usage, choices, the order and kind of a stream's events.

Where a wire format keeps these things its `Shape` says; nothing here knows a family.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from penstock_simulator.ask import JsonObject, Problem
from penstock_simulator.faults.kinds import Documents, Params
from penstock_simulator.wire.shape import at, changed

_OUTPUT_NAME = re.compile("^eval_count|completion|output|candidates|total", re.IGNORECASE)


def usage_missing(_params: Params, documents: Documents) -> Documents:
    """No token counts anywhere; an event that is there for them alone goes."""
    kept = [item for item in documents.items if not (documents.shape.usage(item) and item.get("choices") == [])]
    documents.items = [documents.shape.with_usage(item, None) for item in kept]
    return documents


def usage_negative(_params: Params, documents: Documents) -> Documents:
    """Counts below zero."""
    return _bend(documents, lambda count: -count - 5)


def usage_string(_params: Params, documents: Documents) -> Documents:
    """Counts as text."""
    return _bend(documents, str)


def usage_nan(_params: Params, documents: Documents) -> Documents:
    """Counts that are NaN, which is not JSON."""
    documents.odd_numbers = True
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

    def raised(usage: JsonObject) -> JsonObject:
        names = {name for name, count in usage.items() if isinstance(count, int) and _OUTPUT_NAME.search(name)}
        return {**usage, **{name: usage[name] + extra for name in names}}

    return _with_usage(documents, raised)


def usage_unequal(_params: Params, documents: Documents) -> Documents:
    """Parts that do not sum to the total; no change where a family has neither."""
    path = documents.shape.total_path

    def unequal(usage: JsonObject) -> JsonObject:
        count = at(usage, path) if path is not None else None
        return changed(usage, path, count + 17) if path is not None and isinstance(count, int) else usage

    return _with_usage(documents, unequal)


def usage_early(_params: Params, documents: Documents) -> Documents:
    """A first event with other, smaller counts than the last."""
    shape = documents.shape
    last = next(filter(None, map(shape.usage, reversed(documents.items))), None)
    if documents.streamed and last:
        early = _bent(last, lambda count: count // 2)
        documents.items[0] = shape.with_early_usage(documents.items[0], early)
    return documents


def no_choices(_params: Params, documents: Documents) -> Documents:
    """No choice, candidate, output or block at all."""
    hollow = map(documents.shape.hollow, documents.items)
    documents.items = [item for item in hollow if item is not None]
    return documents


def error_in_200(params: Params, documents: Documents) -> Documents:
    """An error under a good status; in a stream as its only event."""
    event = documents.wire.error_event(_problem(params, documents))
    failure = documents.shape.failure
    documents.items = [failure(documents.items[-1], event) if failure else event]
    documents.closing = _bracket(documents)
    return documents


def error_in_stream(params: Params, documents: Documents) -> Documents:
    """Part of the answer, then an error event; without a stream the error alone."""
    if not documents.streamed:
        return error_in_200(params, documents)
    half = max(len(documents.items) // 2, 1)
    documents.items = [*documents.items[:half], documents.wire.error_event(_problem(params, documents))]
    documents.closing = _bracket(documents)
    return documents


def no_done(_params: Params, documents: Documents) -> Documents:
    """All content, then an orderly end without the terminal marker."""
    if documents.streamed:
        documents.items = documents.shape.unmarked(documents.items)
        documents.closing = b""
    return documents


def no_finish(_params: Params, documents: Documents) -> Documents:
    """A stream that ends in the middle: no stop reason, no usage, no terminal marker."""
    if documents.streamed:
        documents.items = documents.items[: max(len(documents.items) // 2, 1)]
        documents.closing = b""
    return documents


def duplicate_events(_params: Params, documents: Documents) -> Documents:
    """The terminal events twice: stop reason and usage come again."""
    if documents.streamed:
        documents.items = [*documents.items, *documents.items[_finish_place(documents) :]]
    return documents


def swapped_events(_params: Params, documents: Documents) -> Documents:
    """The stop reason before the last content."""
    if documents.streamed:
        place, items = _finish_place(documents), documents.items
        contents = [index for index, item in enumerate(items[:place]) if documents.shape.is_content(item)]
        if contents:
            items.insert(contents[-1], items.pop(place))
    return documents


def unknown_events(_params: Params, documents: Documents) -> Documents:
    """Events of a kind that nobody has heard of, between the others."""
    if documents.streamed:
        documents.items = [part for item in documents.items for part in (documents.shape.stranger, item)]
    return documents


def other_model(params: Params, documents: Documents) -> Documents:
    """Another model's name in the answer than was asked for."""
    for path in documents.shape.model_paths:
        documents.items = [
            item if at(item, path) is None else changed(item, path, params.text("model")) for item in documents.items
        ]
    return documents


def _problem(params: Params, documents: Documents) -> Problem:
    """The error that the parameters name, in the provider's own type where they name none."""
    kind = params.text("type") if "type" in params.given else ""
    problem = Problem(500, "", kind, params.text("code") or None, kind="status", facts={"model": documents.ask.model})
    return documents.wire.worded(problem)


def _bracket(documents: Documents) -> bytes:
    """What must close even a stream that failed: nothing, but for an array."""
    return documents.framing.closing if documents.framing.opening else b""


def _finish_place(documents: Documents) -> int:
    places = (index for index, item in enumerate(documents.items) if documents.shape.is_finish(item))
    return next(places, len(documents.items) - 1)


def _bend(documents: Documents, change: Callable[[int], Any]) -> Documents:
    return _with_usage(documents, lambda usage: _bent(usage, change))


def _with_usage(documents: Documents, change: Callable[[JsonObject], JsonObject]) -> Documents:
    shape, items = documents.shape, documents.items
    found = [(item, shape.usage(item)) for item in items]
    documents.items = [item if usage is None else shape.with_usage(item, change(usage)) for item, usage in found]
    return documents


def _bent(value: Any, change: Callable[[int], Any]) -> Any:
    if isinstance(value, dict):
        return {name: _bent(item, change) for name, item in value.items()}
    return change(value) if isinstance(value, int) and not isinstance(value, bool) else value
