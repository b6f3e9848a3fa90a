"""Anthropic's words: why a model stopped, and what went wrong."""

from collections.abc import Mapping
from typing import Any

from penstock_worker.llm.classify import Clue, error_of, lower, of_response, words
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.port import StopReason
from penstock_worker.llm.wire import mapping, text_of

_STOP_REASONS = {
    "end_turn": StopReason.COMPLETE,
    "stop_sequence": StopReason.COMPLETE,
    "max_tokens": StopReason.LENGTH,
    "model_context_window_exceeded": StopReason.LENGTH,
    "tool_use": StopReason.TOOL_CALLS,
    "refusal": StopReason.REFUSAL,
}


def stop_reason(word: object) -> StopReason:
    """Translate ``stop_reason``; ``pause_turn`` and what is new are not complete."""
    return _STOP_REASONS.get(word, StopReason.UNKNOWN) if isinstance(word, str) else StopReason.UNKNOWN


def refusal_words(message: Mapping[str, Any]) -> str | None:
    """What the model says of its refusal; None when it did not refuse or says nothing."""
    if message.get("stop_reason") != "refusal":
        return None
    details = mapping(message.get("stop_details"))
    return text_of(details.get("explanation"), 256) or text_of(details.get("category"), 256)


def classify(status: int, body: bytes) -> CallError:
    """Make the error for a response whose status is not 200."""
    return of_response(status, body, lambda top, code: classify_object(top.get("error", top), status=code))


def classify_object(error: object, *, status: int | None = None) -> CallError:
    """Make the error for an error object, with the response's *status*, or None for one inside a 200.

    A spending cap comes as a 429 of type ``rate_limit_error``; only its details tell it from a throttle.
    """
    fields = mapping(error)
    names = (lower(mapping(fields.get("details")).get("error_code")), lower(fields.get("type")))
    return error_of(Clue(names, words(fields.get("message") if fields else error), status))
