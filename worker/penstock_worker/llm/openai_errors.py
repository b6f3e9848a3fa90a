"""Errors of OpenAI's formats and of what speaks them: where the codes and words stand."""

from collections.abc import Mapping
from typing import Any

from penstock_worker.llm.classify import Clue, error_of, lower, of_response, words
from penstock_worker.llm.errors import CallError
from penstock_worker.llm.wire import mapping


def classify(status: int, body: bytes) -> CallError:
    """Make the error for a response whose status is not 200."""
    return of_response(status, body, _read)


def classify_object(error: object, *, status: int | None = None) -> CallError:
    """Make the error for an error object, with the response's *status*, or None for one inside a 200.

    A numeric code (OpenRouter) is the status that the response would have had.
    """
    fields = mapping(error)
    effective = status or _numeric(fields.get("code"))
    inner = mapping(fields.get("innererror"))  # Azure
    names = [lower(inner.get("code")), lower(fields.get("code")), lower(fields.get("type"))]
    if effective == 403 and "reasons" in mapping(fields.get("metadata")):
        names.insert(0, "moderation_blocked")  # OpenRouter: the input was flagged
    message = words(fields.get("message") if fields else error)
    return error_of(Clue(tuple(names), message, effective, param=str(fields.get("param", ""))))


def _read(top: Mapping[str, Any], status: int) -> CallError:
    return classify_object(top.get("error", top), status=status)


def _numeric(code: object) -> int | None:
    number = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() else code
    return number if isinstance(number, int) and 400 <= number < 600 else None
